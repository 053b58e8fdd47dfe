"""Results of runs with planted outcomes, as `r1zero.report.results.load` would read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from r1zero.evaluate.metrics import MEANS
from r1zero.report.results.inputs import (
    Evaluation,
    Model,
    Problem,
    RunResults,
    SuiteResults,
)
from report_files import model_content

N_PROBLEMS = 300
FIELDS = tuple(MEANS.values())
# Settings that claims ask for and `model_content` leaves out.
_UNSAID = {"algorithm.zero_variance_groups": "keep", "algorithm.mask_truncated_completions": False}


def run(
    recipe: str = "datawhale_r1",
    seed: int = 0,
    *,
    settings: Mapping[str, Any] | None = None,
    steps: Mapping[int, Mapping[str, Any]] | None = None,
    training: Mapping[str, Sequence[float]] | None = None,
    gpus: int = 0,
    train_seconds: float = 300.0,
    suite: str | None = None,
    reference: str = "trainer",
    checkpoints: Sequence[Mapping[str, Any]] = (),
    **identity: str,
) -> RunResults:
    """One run: outcomes [n_problems, n_samples] by step and field, metrics by name from step 1."""
    named = {
        **{"recipe": recipe, "backend": "trl", "seed": seed, "scale": "mini", "task": "countdown"},
        **identity,
    }
    name = "-".join((recipe, named["backend"], str(seed)))
    content = model_content(
        named, name, {**_UNSAID, **(settings or {})}, Path(name, "metrics.jsonl")
    )
    content |= {"gpus": gpus, "train_seconds": train_seconds, "source": f"{name}/model.json"}
    content |= {"reference": reference, "checkpoints": list(checkpoints)}
    model = Model.model_validate(content)
    suite = suite or model.settings["dataset"]
    found = steps or {0: {}, 40: {}}
    evaluations = [_evaluation(model, suite, step, fields) for step, fields in found.items()]
    logged = _training(training or {"reward": [0.0] * 40})
    return RunResults(model, (SuiteResults(suite, tuple(evaluations)),), logged)


def binary(rate: float, seed: int, n_problems: int = N_PROBLEMS, n_samples: int = 1) -> Any:
    """Outcomes of 0 and 1 of problems of all degrees of difficulty, which all seeds share."""
    levels = np.random.default_rng(99).beta(1.5, 1.5, (n_problems, 1))
    levels = levels ** (np.log(rate) / np.log(0.5))
    return (np.random.default_rng(seed).random((n_problems, n_samples)) < levels).astype(int)


def _evaluation(model: Model, suite: str, step: int, given: Mapping[str, Any]) -> Evaluation:
    shape = next((np.shape(values) for values in given.values()), (N_PROBLEMS, 1))
    values = {field: np.zeros(shape) for field in FIELDS} | {"length": np.full(shape, 50.0)}
    values |= {field: np.asarray(found, dtype=float) for field, found in given.items()}
    columns = (map(tuple, values[field].tolist()) for field in FIELDS)
    no_votes = (None,) * shape[1]
    problems = [
        Problem.model_construct(
            problem_id=f"p{place:04d}",
            vote=no_votes,
            greedy=None,
            **dict(zip(FIELDS, row, strict=True)),
        )
        for place, row in enumerate(zip(*columns, strict=True))
    ]
    return Evaluation.model_construct(
        source=model.source.parent / f"{suite}-{step}.json",
        run=model.run,
        suite=suite,
        step=step,
        config_hash=model.config_hash,
        model_sha256="0",
        suite_sha256="5017e",
        decoding={"temperature": 1.0, "seed": model.run.seed},
        engine="transformers",
        n_problems=shape[0],
        n_samples=shape[1],
        problems=tuple(problems),
        provenance=model.provenance,
    )


def _training(metrics: Mapping[str, Sequence[float]]) -> pl.DataFrame:
    rows = [
        (step, metric, float(value))
        for metric, values in sorted(metrics.items())
        for step, value in enumerate(values, start=1)
    ]
    schema = {"step": pl.Int64, "metric": pl.String, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")
