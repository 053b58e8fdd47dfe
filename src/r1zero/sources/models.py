"""Models on disk: from a hub, or from a folder of the user's."""

import shutil
from pathlib import Path

from r1zero.errors import UserError
from r1zero.files import sha256_file
from r1zero.settings.sources import HubModel, LocalModel

# Weights, configuration and tokenizer. Pickled weights run code when they are loaded.
_SUFFIXES = (".safetensors", ".json", ".txt", ".jinja")
_SPARE_BYTES = 1 << 30


def model_files(folder: Path) -> list[Path]:
    """The files of a model in a folder, sorted; our own manifest is none of them."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES and path.name != "manifest.json"
    )


def fetch_model(source: HubModel | LocalModel, out: Path) -> str:
    """Put a model's files into folder `out`; a download that was cut off goes on where it was.

    Returns:
        The commit of the hub that the files are of; `local` for a local model.
    """
    out.mkdir(parents=True, exist_ok=True)
    if isinstance(source, LocalModel):
        return _link(source.path, out)
    return _download(source, out)


def _link(folder: Path, out: Path) -> str:
    if not list(folder.glob("*.safetensors")):
        raise UserError("no safetensors file in the folder", where=str(folder))
    for path in model_files(out):  # of another model that was here before
        path.unlink()
    for path in model_files(folder):
        (out / path.name).symlink_to(path.resolve())
    return "local"


def _download(source: HubModel, out: Path) -> str:
    from httpx import HTTPError
    from huggingface_hub import HfApi, RepoFile, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    where = f"models: {source.repo}"
    try:
        sha = str(HfApi().model_info(source.repo, revision=source.revision).sha)
        files = {
            entry.path: entry
            for entry in HfApi().list_repo_tree(source.repo, revision=sha, recursive=True)
            if isinstance(entry, RepoFile) and Path(entry.path).suffix in _SUFFIXES
        }
        wanted = sum(file.size for file in files.values())
        free = shutil.disk_usage(out).free
        if wanted + _SPARE_BYTES > free:
            raise UserError(
                f"takes {wanted / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free", where=where
            )
        snapshot_download(source.repo, revision=sha, local_dir=out, allow_patterns=list(files))
    except (HfHubHTTPError, HTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"download failed: {reason}",
            where=where,
            hint="HF_ENDPOINT names a mirror; `kind: local` takes a folder of yours",
        ) from None
    for path in model_files(out):  # of another model that was here before
        if path.name not in files:
            path.unlink()
    for name, file in files.items():
        if file.lfs:  # the client compares sizes alone
            _check(out / name, file.lfs.sha256)
    return sha


def _check(path: Path, wanted: str) -> None:
    found = sha256_file(path)
    if found != wanted:
        path.unlink()
        raise UserError(
            f"sha256 is {found}, the hub says {wanted}",
            where=str(path),
            hint="deleted; the next try downloads it again",
        )
