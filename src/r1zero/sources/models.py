"""Models on disk: links to the folder of a local model, and checks of its files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from r1zero.core.errors import UserError
from r1zero.core.files import read_json
from r1zero.core.formatting import shortlist
from r1zero.sources.content import wrong_content

# Weights, configuration and tokenizer. Pickled weights and Python could run code when loaded.
_SUFFIXES = (".safetensors", ".json", ".txt", ".jinja")


def link_model(folder: Path, out: Path) -> list[Path]:
    """Link to the files of a local model in folder `out`; returns the links, sorted."""
    if not list(folder.glob("*.safetensors")):
        raise UserError("no safetensors file in the folder", where=str(folder))
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES and path.name != "manifest.json" and not _is_hidden(path)
    )
    for name in names:
        if problem := wrong_content(folder / name, name):
            raise UserError(problem, where=str(folder / name))
    out.mkdir(parents=True, exist_ok=True)
    for path in out.iterdir():  # links of an earlier model
        if path.is_symlink() or path.is_file():
            path.unlink()
    for name in names:
        (out / name).symlink_to((folder / name).resolve())
    return [out / name for name in names]


def check_no_remote_code(folder: Path, allowed: list[str]) -> None:
    """Raise `UserError` if a model's configuration needs Python code of the repository."""
    for path, content in _objects(folder, "*config.json"):
        if "auto_map" in content and not any(name.endswith(".py") for name in allowed):
            raise UserError(
                "needs Python code of its repository (auto_map), which is never run",
                where=str(path),
                hint="use a model that transformers implements",
            )


def check_weights_complete(folder: Path) -> None:
    """Raise `UserError` if an index of safetensors files names a file that is missing."""
    present = {path.name for path in folder.iterdir() if path.is_file()}
    for path, content in _objects(folder, "*.safetensors.index.json"):
        places = content.get("weight_map")
        if not isinstance(places, dict) or not places:
            raise UserError("has no weight_map", where=str(path))
        missing = sorted(set(map(str, places.values())) - present)
        if missing:
            raise UserError(
                f"names missing weights: {shortlist(missing, most=4)}",
                where=str(path),
                hint="the model is incomplete at its source",
            )


def _objects(folder: Path, pattern: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """JSON files of a folder with their content, which must be an object."""
    for path in sorted(folder.glob(pattern)):
        if _is_hidden(path):
            continue
        content = read_json(path)
        if not isinstance(content, dict):
            raise UserError(f"not a JSON object: {str(content)[:40]!r}", where=str(path))
        yield path, content


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")
