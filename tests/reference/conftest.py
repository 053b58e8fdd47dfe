from pathlib import Path

import pytest

from tiny_model import save_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random model."""
    return save_tiny_model(tmp_path_factory.mktemp("model"))
