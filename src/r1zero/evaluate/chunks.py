"""Finished chunks of an evaluation on disk, so that a killed evaluation can continue."""

import shutil
from pathlib import Path

import polars as pl

from r1zero.core.files import atomic_path, write_text

Drawn = list[list[list[int]]]
"""Token ids, by prompt and sample."""


class Chunks:
    """A folder of finished chunks of one evaluation.

    Args:
        folder: The folder. Chunks of another evaluation, with another key, are removed.
        key: Hash of everything that decides what is generated.

    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        name = folder / "key"
        if not (name.is_file() and name.read_text(encoding="utf-8") == key):
            self.remove()
            write_text(name, key)

    def __len__(self) -> int:
        return len(list(self.folder.glob("[!.]*.parquet")))

    def __contains__(self, name: str) -> bool:
        return (self.folder / f"{name}.parquet").is_file()

    def read(self, name: str) -> tuple[Drawn, float] | None:
        """Completions of a chunk and the seconds that they took; None if it is not finished."""
        if name not in self:
            return None
        table = pl.read_parquet(self.folder / f"{name}.parquet")
        return table["tokens"].to_list(), table["seconds"][0]

    def write(self, name: str, drawn: Drawn, seconds: float) -> None:
        """Save a finished chunk."""
        with atomic_path(self.folder / f"{name}.parquet") as temporary:
            table = pl.DataFrame({"tokens": drawn}, schema={"tokens": pl.List(pl.List(pl.Int32))})
            table.with_columns(seconds=pl.lit(seconds)).write_parquet(temporary)

    def remove(self) -> None:
        """Remove the folder if it exists."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
