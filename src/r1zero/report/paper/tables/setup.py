"""Tables of the setup: settings, measurement, cost."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from r1zero.core.formatting import count
from r1zero.report.paper.document import Table
from r1zero.report.paper.rendering import rounded
from r1zero.report.paper.text import duration, setting, short
from r1zero.report.results.inputs import Evaluation, Run, RunResults
from r1zero.report.statistics.measures import Group

# Settings of a recipe that a reader looks for, by their keys in model.json.
_SHOWN = {
    "base model": "model",
    "dataset": "dataset",
    "loss": "algorithm.loss_type",
    "beta": "algorithm.beta",
    "G": "algorithm.num_generations",
    "learning rate": "sizes.learning_rate",
    "steps": "sizes.max_steps",
    "problems/step": "sizes.prompts_per_step",
    "max. tokens": "sizes.max_completion_length",
}
# Settings of the decoding that are shown, in this order.
_DECODING = ("temperature", "top_p", "greedy", "max_new_tokens", "prompt")


def recipes_table(groups: Sequence[Group], names: dict[Run, str]) -> Table:
    """One row per recipe and backend: what was run."""
    flat = [group.settings for group in groups]
    rows = [
        (
            names[group.run],
            group.run.task,
            ", ".join(map(str, group.seeds)),
            *(setting(found.get(key, "–")) for key in _SHOWN.values()),
            _rewards(found.get("rewards")),
        )
        for group, found in zip(groups, flat, strict=True)
    ]
    data = [
        {
            "recipe": group.run.recipe,
            "backend": group.run.backend,
            "seeds": " ".join(map(str, group.seeds)),
            **{key: _cell(value) for key, value in found.items()},
        }
        for group, found in zip(groups, flat, strict=True)
    ]
    return Table(
        name="recipes",
        title="What was run",
        caption=(
            "G is the group size; a step sees problems × G completions. All settings of a recipe"
            " stand in the CSV file and in its model.json."
        ),
        data=pl.DataFrame(data, infer_schema_length=None),
        headings=("recipe", "task", "seeds", *_SHOWN, "rewards"),
        rows=tuple(rows),
        numeric=frozenset(range(6, 12)),
        files=tuple(result.model.source for group in groups for result in group.runs),
    )


def protocol_table(groups: Sequence[Group], names: dict[Run, str]) -> Table:
    """One row per way of measuring: suite, problems, decoding, engine."""
    rows, data = [], []
    for group in groups:
        for suite in group.runs[0].suites:
            item = suite.base
            decoding = {key: item.decoding[key] for key in _DECODING if key in item.decoding}
            shown = [f"{key} {setting(value)}" for key, value in decoding.items()]
            evaluated = ", ".join(str(found.step) for found in suite.evaluations)
            rows.append(
                (
                    names[group.run],
                    suite.name,
                    f"{item.n_problems} × {item.n_samples}",
                    "; ".join(shown),
                    item.engine,
                    evaluated,
                    short(item.suite_sha256),
                )
            )
            data.append(
                {
                    "recipe": group.run.recipe,
                    "backend": group.run.backend,
                    "suite": suite.name,
                    "n_problems": item.n_problems,
                    "n_samples": item.n_samples,
                    **{key: _cell(value) for key, value in decoding.items()},
                    "engine": item.engine,
                    "steps": evaluated.replace(",", ""),
                    "suite_sha256": item.suite_sha256,
                }
            )
    return Table(
        name="protocol",
        title="How it was measured",
        caption=(
            "The same for the base model and every checkpoint; the seeds of a recipe differ in the"
            " seed of the sampling alone."
        ),
        data=pl.DataFrame(data, infer_schema_length=None),
        headings=(
            *("recipe", "suite", "problems × samples", "decoding", "engine"),
            *("steps evaluated", "suite sha256"),
        ),
        rows=tuple(rows),
        numeric=frozenset({2}),
        files=tuple(suite.base.source for group in groups for suite in group.runs[0].suites),
    )


def cost_table(runs: Sequence[RunResults], names: dict[Run, str]) -> Table:
    """One row per run: time, hardware and tokens of its training and of its evaluations."""
    spent = [_cost(result) for result in runs]
    total = {key: sum(row[key] or 0 for row in spent) for key in _COSTS}
    rows = [
        (names[result.run], str(result.run.seed), str(row["hardware"]), *_shown_cost(row))
        for result, row in zip(runs, spent, strict=True)
    ]
    if len(runs) > 1:
        rows.append(("all", "", "", *_shown_cost(total)))
    data = [
        {"recipe": item.run.recipe, "backend": item.run.backend, "seed": item.run.seed, **row}
        for item, row in zip(runs, spent, strict=True)
    ]
    return Table(
        name="cost",
        title="What it cost",
        caption=(
            "Device hours are the time of the optimizer steps, rollouts included, times its"
            " GPUs, or times the cores of the machine where there is no GPU. Evaluation takes"
            " in every step and suite."
        ),
        data=rounded(pl.DataFrame(data, infer_schema_length=None)),
        headings=(
            *("recipe", "seed", "hardware", "training", "GPU hours", "core hours"),
            *("tokens (training)", "evaluation", "tokens (evaluation)", "tokens/s"),
        ),
        rows=tuple(rows),
        numeric=frozenset({1, *range(3, 10)}),
        files=tuple(path for result in runs for path in result.files),
    )


_COSTS = (
    *("train_seconds", "gpu_hours", "core_hours", "train_tokens"),
    *("evaluation_seconds", "evaluation_tokens", "generation_seconds"),
)


def _cost(result: RunResults) -> dict[str, Any]:
    model = result.model
    evaluations = [item for suite in result.suites for item in suite.evaluations]
    cores = int(model.provenance.hardware.get("cores", 0))
    hours = model.train_seconds / 3600
    return {
        "hardware": f"{model.gpus} × {model.gpu or 'GPU'}" if model.gpus else f"{cores} cores",
        "train_seconds": model.train_seconds,
        "gpu_hours": hours * model.gpus,
        "core_hours": 0.0 if model.gpus else hours * cores,
        "train_tokens": model.generated_tokens,
        "evaluation_seconds": sum(item.seconds for item in evaluations),
        "evaluation_tokens": sum(item.tokens for item in evaluations),
        "generation_seconds": sum(_generation_seconds(item) for item in evaluations),
    }


def _generation_seconds(item: Evaluation) -> float:
    return item.tokens / item.tokens_per_second if item.tokens_per_second else 0.0


def _shown_cost(row: dict[str, Any]) -> tuple[str, ...]:
    generating = row["generation_seconds"]
    return (
        duration(row["train_seconds"]),
        f"{row['gpu_hours']:.2f}" if row["gpu_hours"] else "–",
        f"{row['core_hours']:.2f}" if row["core_hours"] else "–",
        count(row["train_tokens"]),
        duration(row["evaluation_seconds"]),
        count(row["evaluation_tokens"]),
        f"{row['evaluation_tokens'] / generating:,.0f}" if generating else "–",
    )


def _rewards(rewards: Any) -> str:
    if not isinstance(rewards, list):
        return "–"
    return ", ".join(
        item["name"] if item.get("weight", 1) == 1 else f"{item['weight']:g} {item['name']}"
        for item in rewards
    )


def _cell(value: Any) -> Any:
    """A value as one field of CSV."""
    return str(value) if isinstance(value, list | dict) else value
