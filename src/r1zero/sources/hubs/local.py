"""A folder as an endpoint."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from r1zero.settings.endpoints import LocalEndpoint
from r1zero.settings.sources import HubDataset, HubModel, Place
from r1zero.sources.hubs.base import CHUNK, Chunks, HubError, Listing, RemoteFile, described


class LocalFolder:
    """A folder on this machine or on the file system of a cluster."""

    kind = "local"
    retries = 0
    verified = True

    def __init__(
        self,
        endpoint: LocalEndpoint,
        kind: str,
        source: HubDataset | HubModel,
        locked: Mapping[str, str],
    ) -> None:
        self.label = f"local {endpoint.local}"
        places = [place for place in (source.huggingface, source.modelscope) if place]
        self.place = places[0].repo
        self._root, self._repo_type = endpoint.local, kind
        self._places, self._commit = places, locked.get("huggingface")

    def pin(self, revision: str) -> None:
        """Prefer the snapshot of this commit."""
        self._commit = revision

    def listing(self) -> Listing:
        """All files of the first folder that exists."""
        with self._failures():
            folder = self._folder()
            # Hidden files belong to download tools: .gitattributes, .cache, .msc.
            files = {
                path.relative_to(folder).as_posix(): RemoteFile(path.stat().st_size)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
                and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            }
            if not files:
                raise HubError(f"no readable file in {folder}")
        return Listing(folder.name if folder.parent.name == "snapshots" else None, files)

    @contextmanager
    def read(self, path: str, start: int) -> Iterator[Chunks]:
        """Open a file."""
        file = self.on_disk(path)
        if file is None:
            raise HubError(f"no {path} in {self._folder()}")
        with self._failures():
            stream = file.open("rb")
        with stream:
            stream.seek(start)
            yield Chunks(start, file.stat().st_size, self._chunks(stream))

    def _chunks(self, stream: BinaryIO) -> Iterator[bytes]:
        # Only reads are guarded: the caller's errors, such as a full disk, are not of this folder.
        while True:
            with self._failures():
                chunk = stream.read(CHUNK)
            if not chunk:
                return
            yield chunk

    def on_disk(self, path: str) -> Path | None:
        """The file, with links resolved."""
        with self._failures():
            file = self._folder() / path
            return file.resolve() if file.is_file() else None

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UnicodeDecodeError) as error:
            raise HubError(described(error)) from None

    def _folder(self) -> Path:
        candidates = [folder for place in self._places for folder in self._folders_of(place)]
        for folder in candidates:
            if folder.is_dir():
                return folder
        raise HubError(f"no folder {' or '.join(map(str, candidates[:2]))}")

    def _folders_of(self, place: Place) -> Iterator[Path]:
        """Possible folders of a repository: named as on a hub, or the cache of huggingface_hub."""
        yield self._root / f"{self._repo_type}s" / place.repo
        cache = self._root / f"{self._repo_type}s--{place.repo.replace('/', '--')}"
        wanted = self._commit or place.revision or "main"
        branch = cache / "refs" / wanted
        yield cache / "snapshots" / (branch.read_text().strip() if branch.is_file() else wanted)
        snapshots = sorted((cache / "snapshots").glob("*"))
        if len(snapshots) == 1 and not self._commit:
            yield snapshots[0]  # it was fetched by commit, so no branch points to it
