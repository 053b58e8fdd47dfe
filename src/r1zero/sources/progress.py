"""Progress of a download: a bar on a terminal, otherwise plain lines."""

import sys
import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from r1zero.core.formatting import duration, size

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts bytes from any thread, and shows them with the rate and the time left."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total
        self._lengths: dict[str, int] = {}
        self._received = 0
        self._started = self._shown = time.monotonic()
        self._guard = threading.Lock()
        self._bar = _bar() if sys.stdout.isatty() else None
        self._task = self._bar.add_task(title, total=total) if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def has(self, path: str, length: int) -> None:
        """Set the bytes of a file that are on disk."""
        with self._guard:
            self._lengths[path] = length
            self._show()

    def received(self, path: str, count: int) -> None:
        """Add bytes of a file that have just been received."""
        with self._guard:
            self._lengths[path] = self._lengths.get(path, 0) + count
            self._received += count
            self._show()

    def note(self, text: str) -> None:
        """Print a line."""
        with self._guard:
            if self._bar:
                self._bar.console.print(text, markup=False, highlight=False)
            else:
                print(text, flush=True)

    def _show(self) -> None:
        done = sum(self._lengths.values())
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=done)
        elif time.monotonic() - self._shown > _SECONDS_BETWEEN_LINES:
            self._shown = time.monotonic()
            rate = self._received / (self._shown - self._started)
            left = f"{duration((self._total - done) / rate)} left" if rate else "ETA unknown"
            print(
                f"{self._title}: {size(done)} of {size(self._total)}, {size(rate)}/s, {left}",
                flush=True,
            )


def _bar() -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(),
    )
