"""Downloads in the process of the tests go to hubs on this machine, whatever the environment."""

import pytest
from huggingface_hub import constants


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo HF_HUB_OFFLINE, which the client has read when it was imported."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
