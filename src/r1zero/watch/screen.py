"""The table of runs, as wide as the terminal: the narrower it is, the fewer columns."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from r1zero.sources.progress import duration, size
from r1zero.watch.machine import Gpu
from r1zero.watch.runs import Status

_BLOCKS = "▁▂▃▄▅▆▇█"
_STYLES = {
    "failed?": "bold red",
    "stalled": "bold yellow",
    "training": "green",
    "evaluating": "cyan",
    "waiting": "dim",
    "done": "dim",
}
_NARROWEST_CURVE, _WIDEST_CURVE = 8, 24


@dataclass(frozen=True)
class _Column:
    heading: str
    cell: Callable[[Status], str]
    keep: int
    """Columns with the lowest number go first where there is no room."""
    left: bool = False


def _left(run: Status) -> str:
    if run.evaluations_left:
        return f"{run.evaluations_left} eval"
    return _duration(run.seconds_left)


_COLUMNS = (
    _Column("state", lambda s: s.state, 9, left=True),
    _Column("step", lambda s: f"{s.step}/{s.max_steps}" if s.max_steps else str(s.step), 8),
    _Column("left", _left, 7),
    _Column("reward", lambda s: _last(s.reward, ".2f"), 6),
    _Column("length", lambda s: _last(s.length, ".0f"), 5),
    _Column("KL", lambda s: "" if s.kl is None else f"{s.kl:.2g}", 3),
    _Column("saved", lambda s: "" if s.checkpoint is None else str(s.checkpoint), 2),
    _Column("tok/s", lambda s: _thousands(s.tokens_per_second), 1),
    _Column("age", lambda s: _duration(s.age), 4),
)
_CURVES: dict[str, Callable[[Status], Sequence[float]]] = {
    "reward": lambda s: s.reward,
    "length": lambda s: s.length,
}


def screen(
    runs: Sequence[Status],
    gpus: Sequence[Gpu],
    disks: dict[str, int],
    *,
    width: int,
    height: int | None = None,
) -> RenderableType:
    """All there is to see.

    Args:
        runs: The runs, the most urgent first.
        gpus: GPUs of this machine.
        disks: Free bytes by folder.
        width: Columns of the terminal.
        height: Its lines; None for as many as it takes.

    """
    below = [*_gpu_lines(gpus), *_disk_lines(runs, disks)]
    shown = list(runs)
    if height is not None:
        shown = shown[: max(1, height - len(below) - 4)]
    hidden = Counter(run.state for run in runs[len(shown) :])
    more = ", ".join(f"{count} {state}" for state, count in hidden.items())
    if more:
        below.insert(0, Text(f"and {more}", style="dim"))
    if not runs:
        return Group(Text("no runs yet"), *below)
    common, labels = _labels(runs)
    title = Text(_safe(common), style="dim") if common else None
    table = _table(shown, labels[: len(shown)], width)
    for line in below:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*([title] if title else []), table, *below)


def _table(runs: Sequence[Status], labels: Sequence[str], width: int) -> Table:
    columns = list(_COLUMNS)
    cells = {c.heading: [c.cell(run) for run in runs] for c in columns}

    def needed(column: _Column) -> int:
        # A heading has room above its curve.
        heading = "" if column.heading in _CURVES else column.heading
        return max(map(len, (heading, *cells[column.heading]))) + 2

    label = max(map(len, labels))
    label_width = min(label, max(12, width // 4))
    while len(columns) > 1:
        room = width - label_width - 2 - sum(map(needed, columns))
        curves = [c.heading for c in columns if c.heading in _CURVES]
        if room >= len(curves) * (_NARROWEST_CURVE + 1):
            break
        columns.remove(min(columns, key=lambda column: column.keep))
    else:
        curves, room = [], 0
    label_width = min(label, label_width + max(0, room - len(curves) * (_WIDEST_CURVE + 1)))
    curve = min(_WIDEST_CURVE, room // len(curves) - 1) if curves else 0
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", collapse_padding=True)
    table.add_column("run", width=label_width, no_wrap=True, overflow="ellipsis")
    for column in columns:
        table.add_column(column.heading, justify="left" if column.left else "right", no_wrap=True)
    for place, run in enumerate(runs):
        row = [Text(_shortened(_safe(labels[place]), label_width))]
        for column in columns:
            text = Text(cells[column.heading][place])
            if column.heading == "state":
                text.stylize(_STYLES[run.state])
            elif column.heading in curves:
                drawn = sparkline(_CURVES[column.heading](run), curve)
                value = text.plain.rjust(max(map(len, cells[column.heading])))
                text = Text.assemble((drawn.ljust(curve), "cyan"), " ", value)
            row.append(text)
        table.add_row(*row)
    return table


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve in one line of blocks, from its least value to its largest.

    Args:
        values: Finite values; more of them than `width` are averaged piece by piece.
        width: Characters at most.

    """
    count = min(width, len(values))
    edges = [round(place * len(values) / count) for place in range(count + 1)] if count else [0]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    if low == high:
        return _BLOCKS[0] * count
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round((mean - low) / (high - low) * steps)] for mean in means)


def _labels(runs: Sequence[Status]) -> tuple[str, list[str]]:
    """What all runs have in common, and what each is called beside it."""
    # Folder, scale, recipe, backend, seed; the recipe is always named.
    folders = {run.folder: Path(run.folder).resolve().name for run in runs}
    if len(set(folders.values())) < len(folders):
        folders = {folder: folder for folder in folders}
    parts = [[folders[run.folder], *run.run.split("/")] for run in runs]
    same = [len(set(names)) == 1 for names in zip(*parts, strict=True)]
    same[2] = False
    common = " · ".join(
        name for name, is_same in list(zip(parts[0], same, strict=True))[1:] if is_same
    )
    return common, [
        "/".join(name for name, is_same in zip(names, same, strict=True) if not is_same)
        for names in parts
    ]


def _gpu_lines(gpus: Sequence[Gpu]) -> list[Text]:
    lines = []
    for gpu in gpus:
        busy = "" if gpu.busy is None else f", {gpu.busy:.0%} busy"
        memory = f"{gpu.used / 2**30:.1f} of {gpu.total / 2**30:.1f} GiB"
        lines.append(Text(f"GPU {gpu.index}  {memory}{busy}, {gpu.name}", style="dim"))
    return lines


def _disk_lines(runs: Sequence[Status], disks: dict[str, int]) -> list[Text]:
    needed = sum(run.disk_needed or 0 for run in runs)
    lines = []
    for folder, free in disks.items():
        line = Text(f"disk   {size(free)} free in {_safe(folder)}", style="dim")
        if len(disks) == 1 and needed:
            line.append(f", {size(needed)} of checkpoints to come")
            if needed > free:
                line.stylize("bold red")
        lines.append(line)
    return lines


def _safe(text: str) -> str:
    """Names of folders without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _shortened(text: str, width: int) -> str:
    """The end of a long name is what tells runs apart."""
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]


def _last(values: Sequence[float], form: str) -> str:
    return format(values[-1], form) if values else ""


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _thousands(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
