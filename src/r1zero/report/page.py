"""The report page: GitHub Markdown, every number of which comes from the input files.

Completions are hostile input: they appear only inside fences that they can't close.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from r1zero.errors import UserError
from r1zero.report.inputs import Evaluation, RunResults, SuiteResults
from r1zero.report.tables import markdown_table, to_markdown

_SAMPLE_COLUMNS = ("problem_id", "sample", "completion", "correct")
_SAMPLE_CHARACTERS = 1500
# Enough of a hash to recognise it; report.json has the whole.
_SHORT = 12
# Control characters, and those that reorder a line of text.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def index(runs: Sequence[RunResults], table: pl.DataFrame) -> str:
    """Render the whole page; paths of figures and tables are relative to it."""
    scale = runs[0].run.scale
    sections = [
        f"# R1-Zero replication, scale `{scale}`",
        _what_was_run(runs),
        _main_result(table),
        _figures(),
        _measurement(runs),
        _cost(runs),
        _samples(runs),
        _provenance(runs),
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _what_was_run(runs: Sequence[RunResults]) -> str:
    rows = []
    for members in _by_recipe(runs):
        model = members[0].model
        seeds = [str(result.run.seed) for result in members]
        rows.append(
            [
                model.run.recipe,
                model.run.task,
                model.run.backend,
                ", ".join(seeds),
                " / ".join(_distinct(result.model.base_model.name for result in members)),
                " / ".join(_distinct(_steps(result) for result in members)),
            ]
        )
    made = [result.model.provenance for result in runs]
    machines = _distinct(_hardware(item.hardware) for item in made)
    packages = _distinct(
        ", ".join(f"{name} {version}" for name, version in sorted(item.versions.items()))
        for item in made
    )
    return "\n".join(
        [
            "## What was run\n",
            markdown_table(
                ["recipe", "task", "backend", "seeds", "base model", "evaluated at steps"], rows
            ),
            f"- Hardware: {'; '.join(machines)}",
            f"- Versions: {'; '.join(packages)}",
            f"- Commit: {', '.join(f'`{item}`' for item in _distinct(i.commit for i in made))}",
        ]
    )


def _main_result(table: pl.DataFrame) -> str:
    return "\n".join(
        [
            "## Before and after training\n",
            to_markdown(table),
            "Accuracy takes the answer where the prompt asks for it, lenient accuracy wherever it"
            " stands. Base is step 0, trained the last evaluated step, both measured on the same"
            " problems in the same way. The interval is a paired bootstrap over problems (95 %);"
            " shares are in per cent, their differences in percentage points. It doesn't cover the"
            " training seed: for that, compare the seeds.\n",
            "The same numbers: [CSV](tables/main.csv), [LaTeX](tables/main.tex).",
        ]
    )


def _figures() -> str:
    return "\n".join(
        [
            "## Learning curves\n",
            "![Held-out accuracy and completion length over training]"
            "(figures/learning_curve.svg)\n",
            "## Training\n",
            "![What the trainer logged at each step](figures/training.svg)",
        ]
    )


def _measurement(runs: Sequence[RunResults]) -> str:
    rows = _distinct_rows(
        [
            result.run.recipe,
            suite.name,
            f"{suite.base.n_problems} × {suite.base.n_samples}",
            f"`{suite.base.suite_sha256[:_SHORT]}`",
            ", ".join(_setting(key, value) for key, value in suite.base.decoding.items()),
        ]
        for result in runs
        for suite in result.suites
    )
    headings = ["recipe", "suite", "problems × samples", "suite sha256", "decoding"]
    return "## How it was measured\n\n" + markdown_table(headings, rows)


def _cost(runs: Sequence[RunResults]) -> str:
    rows = []
    for result in runs:
        model = result.model
        spent = sum(item.seconds for suite in result.suites for item in suite.evaluations)
        rows.append(
            [
                result.run.recipe,
                result.run.backend,
                str(result.run.seed),
                duration(model.train_seconds),
                f"{model.generated_tokens:,}",
                duration(spent),
            ]
        )
    headings = ["recipe", "backend", "seed", "training", "tokens generated", "evaluation"]
    return "## Cost\n\n" + markdown_table(headings, rows, numeric={2, 3, 4, 5})


def _provenance(runs: Sequence[RunResults]) -> str:
    rows = [
        [
            result.run.recipe,
            result.run.backend,
            str(result.run.seed),
            f"`{result.model.config_hash[:_SHORT]}`",
            f"`{result.model.data_hash[:_SHORT]}`",
            f"`{result.model.provenance.commit[:_SHORT]}`",
            "<br>".join(f"`{path.as_posix()}`" for path in result.files),
        ]
        for result in runs
    ]
    headings = ["recipe", "backend", "seed", "config", "data", "commit", "files"]
    return (
        "## Provenance\n\n"
        + markdown_table(headings, rows, numeric={2})
        + "\n[report.json](report.json) lists every input and output with its sha256."
    )


def _samples(runs: Sequence[RunResults]) -> str:
    """Show completions of the first run of each recipe, where they were kept."""
    parts = []
    for members in _by_recipe(runs):
        suite = members[0].suites[0]
        path = suite.trained.completions
        if path is None or not path.is_file():
            continue
        completions = read_completions(path, suite.trained)
        heading = f"### {members[0].run.recipe}, seed {members[0].run.seed}, {suite.name}"
        parts.append(heading)
        for title, row in chosen_samples(suite, completions):
            parts.append(
                f"**{title}**: problem {inline_code(row['problem_id'])}, sample {row['sample']}"
            )
            parts.append(fenced(row["completion"]))
    if not parts:
        return ""
    note = (
        "Chosen by rule, not by hand: of the last evaluated step, the first correct completion, the"
        " first correct one that is longer than the base model's mean, and the first wrong one."
    )
    return "\n\n".join(["## Samples", note, *parts])


def completion_files(runs: Sequence[RunResults]) -> list[Path]:
    """List the parquet files that the samples of the page are read from."""
    paths = [members[0].suites[0].trained.completions for members in _by_recipe(runs)]
    return [path for path in paths if path is not None and path.is_file()]


def read_completions(path: Path, evaluation: Evaluation) -> pl.DataFrame:
    """Read the completions of an evaluation, ordered by problem and sample.

    The columns are problem_id, sample, completion, correct. Completions that the evaluation graded
    differently are those of another evaluation, and refused.
    """
    try:
        completions = pl.read_parquet(path, columns=list(_SAMPLE_COLUMNS))
    except pl.exceptions.PolarsError as error:
        message = f"not a parquet file with the columns {', '.join(_SAMPLE_COLUMNS)}: {error}"
        raise UserError(message.splitlines()[0], where=str(path)) from None
    graded = _values(evaluation, "correct")
    for problem_id, sample, correct in completions.select(
        "problem_id", "sample", "correct"
    ).iter_rows():
        if graded.get((problem_id, sample)) != correct:
            message = f"problem {problem_id}, sample {sample} isn't as in {evaluation.source}"
            raise UserError(message, where=str(path), hint="stale: evaluate this run again")
    return completions.sort("problem_id", "sample")


def chosen_samples(
    suite: SuiteResults, completions: pl.DataFrame
) -> list[tuple[str, dict[str, Any]]]:
    """First correct, first other correct longer than the base's mean, first wrong; each if any."""
    base_mean = float(suite.base.outcomes("length").mean())
    lengths = _values(suite.trained, "length")
    rows = completions.to_dicts()
    right = [row for row in rows if row["correct"]]
    wrong = [row for row in rows if not row["correct"]]
    longer = [
        row for row in right[1:] if lengths.get((row["problem_id"], row["sample"]), 0.0) > base_mean
    ]
    titles = ("Correct", "Correct, longer than the base model's mean", "Wrong")
    chosen = zip(titles, (right, longer, wrong), strict=True)
    return [(title, found[0]) for title, found in chosen if found]


def fenced(text: str) -> str:
    """Show untrusted text as it is: the fence is longer than any run of backticks inside."""
    kept = _UNPRINTABLE.sub("\ufffd", text)
    if len(kept) > _SAMPLE_CHARACTERS:
        left_out = len(kept) - _SAMPLE_CHARACTERS
        kept = f"{kept[:_SAMPLE_CHARACTERS]}\n[… {left_out} more characters]"
    longest = max((len(run) for run in re.findall("`+", kept)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{kept}\n{fence}"


def inline_code(text: str) -> str:
    """Show text as inline code on one line, whatever backticks it has."""
    flat = _UNPRINTABLE.sub("\ufffd", text.replace("\r\n", "\n")).replace("\n", "⏎")
    longest = max((len(run) for run in re.findall("`+", flat)), default=0)
    ticks = "`" * (longest + 1)
    # A space keeps a backtick at either end apart from the delimiter; Markdown takes it away again.
    pad = " " if longest else ""
    return f"{ticks}{pad}{flat}{pad}{ticks}"


def duration(seconds: float) -> str:
    """Give seconds in the unit that reads best: `95 s`, `5.0 min`, `3.2 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _by_recipe(runs: Sequence[RunResults]) -> list[list[RunResults]]:
    """Group runs by recipe and backend; the order of runs is kept."""
    groups: dict[tuple[str, str], list[RunResults]] = {}
    for result in runs:
        groups.setdefault((result.run.recipe, result.run.backend), []).append(result)
    return list(groups.values())


def _values(evaluation: Evaluation, field: str) -> dict[tuple[str, int], float]:
    """Give the values of one field by problem_id and sample."""
    return {
        (problem.problem_id, sample): value
        for problem in evaluation.problems
        for sample, value in enumerate(getattr(problem, field))
    }


def _steps(result: RunResults) -> str:
    steps = {item.step for suite in result.suites for item in suite.evaluations}
    return ", ".join(str(step) for step in sorted(steps))


def _setting(key: str, value: Any) -> str:
    return f"{key} {inline_code(value) if isinstance(value, str) else value}"


def _hardware(found: dict[str, Any]) -> str:
    """Name the machine in words: `Some CPU, 2 cores, 23.5 GiB`, then whatever else is known."""
    words = {"cpu": "{}", "cores": "{} cores", "memory_gib": "{} GiB"}
    return ", ".join(words.get(key, f"{key} {{}}").format(value) for key, value in found.items())


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _distinct_rows(rows: Iterable[list[str]]) -> list[list[str]]:
    return [list(row) for row in dict.fromkeys(tuple(row) for row in rows)]
