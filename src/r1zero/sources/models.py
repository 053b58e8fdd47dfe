"""Models on disk: from a hub, or from a folder of the user's."""

import shutil
from pathlib import Path

from r1zero.errors import UserError
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
    for path in model_files(folder):
        link = out / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
    return "local"


def _download(source: HubModel, out: Path) -> str:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    where = f"models: {source.repo}"
    try:
        info = HfApi().model_info(source.repo, revision=source.revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        wanted = sum(size for name, size in sizes.items() if Path(name).suffix in _SUFFIXES)
        free = shutil.disk_usage(out).free
        if wanted + _SPARE_BYTES > free:
            raise UserError(
                f"takes {wanted / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free", where=where
            )
        snapshot_download(
            source.repo,
            revision=info.sha,
            local_dir=out,
            allow_patterns=[f"*{suffix}" for suffix in _SUFFIXES],
        )
    except (HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"download failed: {reason}",
            where=where,
            hint="HF_ENDPOINT names a mirror; `kind: local` takes a folder of yours",
        ) from None
    return str(info.sha)
