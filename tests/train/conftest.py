"""A tiny random model to train for a few steps."""

from pathlib import Path

import pytest

from tiny_model import save_tiny_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random model and its tokenizer."""
    return save_tiny_model(tmp_path_factory.mktemp("base"))
