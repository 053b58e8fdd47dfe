"""The lock: commit, size and checksums of each source, recorded when it is first fetched."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from r1zero.core.errors import UserError
from r1zero.core.files import write_text
from r1zero.core.locks import lock
from r1zero.core.section import Section
from r1zero.core.validation import read_yaml, validate
from r1zero.settings.sources import HubDataset, HubModel

LOCK = Path("config/sources.lock.yaml")
_HEADER = """\
# Commit of every fetched model and dataset, with size and sha256 of each file. An entry is written
# by the first download (trust on first use), and later downloads must match it. Keep this file
# under version control. To trust a source anew, delete its entry here and its manifest under
# resources/.
"""
TRUST_ANEW = "to trust it anew, delete the entry there and the manifest under resources/"


class LockedFile(Section):
    """One file."""

    bytes: int = Field(ge=0)
    """Size."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Checksum."""


class LockedPlace(Section):
    """A repository when it was locked."""

    repo: str
    """Owner and name."""
    revision: str | None = None
    """Commit, if the hub reports one."""
    asked_for: str | None = None
    """Revision in the table of sources at that time, if there was one."""


class LockedSource(Section):
    """One model or dataset."""

    first_seen: str
    """Endpoint that was trusted."""
    huggingface: LockedPlace | None = None
    """The repository on the Hugging Face hub."""
    modelscope: LockedPlace | None = None
    """The repository on ModelScope."""
    files: dict[str, LockedFile] = Field(min_length=1)
    """Its files, by their paths in the repository."""

    @property
    def revisions(self) -> dict[str, str]:
        """Commits by kind of hub."""
        places = {"huggingface": self.huggingface, "modelscope": self.modelscope}
        return {kind: p.revision for kind, p in places.items() if p and p.revision}


class _Content(Section):
    datasets: dict[str, LockedSource] = Field(default={})
    models: dict[str, LockedSource] = Field(default={})


class Lock:
    """The lock file, which may not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = path.with_name(f".{path.name}.guard")

    def find(self, section: str, name: str) -> LockedSource | None:
        """Entry of a model or dataset; None if it is not locked."""
        return self._of(self._read(), section).get(name)

    def check_origin(self, section: str, name: str, source: HubDataset | HubModel) -> None:
        """Raise `UserError` if the table names other repositories or revisions than the lock."""
        entry = self.find(section, name)
        for kind in ("huggingface", "modelscope"):
            then: LockedPlace | None = getattr(entry, kind, None)
            now = getattr(source, kind)
            if then and now and (then.repo, then.asked_for) != (now.repo, now.revision):
                if now.revision and now.revision == then.revision:
                    continue  # pinned to the commit that is locked
                raise UserError(
                    f"is locked as {_named(then.repo, then.asked_for or then.revision)}, the table "
                    f"says {_named(now.repo, now.revision)}",
                    where=f"{self.path}: {section}.{name}",
                    hint=TRUST_ANEW,
                )

    def check_writable(self) -> None:
        """Raise `UserError` if an entry could not be added."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with lock(self._guard, on_wait=lambda: None):
                pass
        except OSError as error:
            raise UserError(f"cannot be written: {error.strerror}", where=str(self.path)) from None

    def add(self, section: str, name: str, entry: LockedSource) -> None:
        """Add an entry; one that another process has added must have the same files."""
        with lock(self._guard, on_wait=lambda: None):
            content = self._read()
            known = self._of(content, section).get(name)
            if known:
                if known.files != entry.files:
                    raise UserError(
                        f"{entry.first_seen} has other files than {known.first_seen}",
                        where=f"{self.path}: {section}.{name}",
                        hint=TRUST_ANEW,
                    )
                return
            values = content.model_dump(mode="json", exclude_none=True)
            values[section][name] = entry.model_dump(mode="json", exclude_none=True)
            ordered = {part: dict(sorted(values[part].items())) for part in ("datasets", "models")}
            body = yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=100)
            write_text(self.path, _HEADER + body)

    def _read(self) -> _Content:
        if not self.path.exists():
            return _Content()
        values = read_yaml(self.path) or {}
        if isinstance(values, dict):  # a section whose last entry was deleted is null
            values = {section: entries or {} for section, entries in values.items()}
        return validate(values, _Content, str(self.path))

    @staticmethod
    def _of(content: _Content, section: str) -> Mapping[str, LockedSource]:
        return content.models if section == "models" else content.datasets


def _named(repo: str, revision: str | None) -> str:
    return f"{repo} at {revision}" if revision else repo
