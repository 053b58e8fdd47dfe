"""Models in a folder of the user's: linked to, not copied."""

from pathlib import Path

from r1zero.errors import UserError
from r1zero.files import read_json

# Weights, configuration and tokenizer. Pickled weights and Python would run when loaded.
_SUFFIXES = (".safetensors", ".json", ".txt", ".jinja")


def link_model(folder: Path, out: Path) -> list[Path]:
    """Link to the files of a local model in folder `out`; returns the links, sorted."""
    if not list(folder.glob("*.safetensors")):
        raise UserError("no safetensors file in the folder", where=str(folder))
    out.mkdir(parents=True, exist_ok=True)
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES and path.name != "manifest.json"
    )
    for path in out.iterdir():  # of another model that was here before
        if path.is_symlink() or path.is_file():
            path.unlink()
    for name in names:
        (out / name).symlink_to((folder / name).resolve())
    return [out / name for name in names]


def check_no_remote_code(folder: Path, allowed: list[str]) -> None:
    """Raise `UserError` if a model's configuration asks for Python of its own."""
    for path in sorted(folder.glob("*.json")):
        content = read_json(path) if path.name.endswith("config.json") else {}
        if "auto_map" in content and not any(name.endswith(".py") for name in allowed):
            raise UserError(
                "asks for Python code of its own (auto_map), which is not run",
                where=str(path),
                hint="take a model that transformers knows",
            )
