"""What the tests of the page render: a small report, and rollouts beside a run's model.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

from r1zero.report.paper.document import Contents, Figure, Part, Sample, Table
from report_files import STEPS, RunFiles

ROLLOUT = {
    "step": 1,
    "draw": 0,
    "problem_id": "t0",
    "prompt": "What is 1 + 1?",
    "completion": "",
    "length": 10,
    "truncated": False,
    "rewards/correct": 0.0,
    "rewards/format": 1.0,
    "reward": 1.0,
    "advantage": 0.0,
    "in_loss": True,
}


def contents(title: str = "A report", abstract: str = "Accuracy rises.") -> Contents:
    """One part with a table, a figure of two series, and a sample."""
    data = pl.DataFrame({"recipe": ["one", "two"], "accuracy": [0.25, 0.5]})
    rows = (("one", "25.0"), ("two", "50.0"))
    table = Table(
        "main", "Accuracy", "In per cent.", data, ("recipe", "accuracy"), rows, frozenset({1}), ()
    )
    points = [
        {"series": series, "step": step, "value": step * slope}
        for series, slope in (("one", 1), ("two", 2))
        for step in (0, 10, 20)
    ]
    scale = alt.Scale(domain=["one", "two"], range=["#0072B2", "#D55E00"])
    chart = (
        alt.Chart(alt.InlineData(values=points), width=300, height=200)
        .mark_line()
        .encode(
            alt.X("step:Q", title="optimizer step"),
            alt.Y("value:Q", title="accuracy (%)"),
            alt.Color("series:N", scale=scale, title="recipe"),
        )
    )
    figure = Figure("curve", "Learning curve", "Per step.", chart, (Path("results/x.json"),))
    sample = Sample("The first", "<think>1+1</think>", ("right", "5 tokens"))
    part = Part("results", "Results", ("Some text.",), (table,), (figure,), (sample,))
    return Contents(title, (abstract,), (part,))


def write_rollouts(run: RunFiles, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rollouts of a run; a row says how it differs from `ROLLOUT`."""
    frame = pl.DataFrame([{**ROLLOUT, **row} for row in rows])
    frame.write_parquet(run.folder / "rollouts.parquet")


def write_evaluations(run: RunFiles, n_problems: int = 3, n_samples: int = 2) -> None:
    """Evaluate the run with completions: at the last step all are right, before it none."""
    for step in STEPS:
        right = int(step == STEPS[-1])
        path = run.folder / f"completions-{step}.parquet"
        pl.DataFrame(
            [
                {
                    "problem_id": f"p{problem:04d}",
                    "decoding": "sampled",
                    "sample": sample,
                    "completion": f"step {step} problem {problem} sample {sample}",
                    "length": 50 + step,
                    "truncated": 0,
                    "correct": right,
                    "extracted": "2",
                    "reason": "a reason",
                }
                for problem in range(n_problems)
                for sample in range(n_samples)
            ]
        ).write_parquet(path)
        run.evaluate(step, [[right] * n_samples] * n_problems, completions=path)
