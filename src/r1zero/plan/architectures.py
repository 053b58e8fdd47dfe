"""Sizes of a model, from its files or from `sources.yaml`."""

import contextlib
from pathlib import Path

from r1zero.core.errors import UserError
from r1zero.core.files import read_json
from r1zero.settings.architecture import Architecture
from r1zero.settings.sources import HubModel, LocalModel, ModelSource


def architecture_of(source: ModelSource | None, name: str) -> Architecture | None:
    """Sizes of a model: of its files if it was fetched, else as its source states them."""
    folders = [Path("resources/models") / name]
    if isinstance(source, LocalModel):
        folders.append(source.path)
    for folder in folders:
        if (folder / "config.json").is_file():
            return read_architecture(folder)
    return source.architecture if isinstance(source, HubModel) else None


def read_architecture(model: Path) -> Architecture | None:
    """Sizes of a model on disk; None for an architecture whose memory is not modelled."""
    with contextlib.suppress(UserError):
        return Architecture.from_config(read_json(model / "config.json"))
    return None
