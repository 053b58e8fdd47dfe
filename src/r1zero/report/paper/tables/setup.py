"""Tables of the setup: settings, measurement, cost."""

from collections.abc import Sequence
from typing import Any

from r1zero.core.formatting import count
from r1zero.report.paper.document import Table
from r1zero.report.paper.text import duration, setting, short
from r1zero.report.results.inputs import Run, RunResults
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
# Stages that keep cores busy, as the columns of the costs are named.
_STAGES = ("base", "train", "evaluation")
# Settings of the decoding that are shown, in this order.
_DECODING = ("temperature", "top_p", "greedy", "max_new_tokens", "prompt")


def recipes_table(groups: Sequence[Group], names: dict[Run, str]) -> Table:
    """One row per recipe and backend: what was run."""
    return Table.of(
        "recipes",
        "What was run",
        "G is the group size; a step sees problems × G completions. All settings of a recipe stand"
        " in the CSV file and in its model.json.",
        [
            {
                "recipe": names[group.run],
                "task": group.run.task,
                "seeds": ", ".join(map(str, group.seeds)),
                **{what: setting(group.settings.get(key, "–")) for what, key in _SHOWN.items()},
                "rewards": setting(group.settings.get("rewards", "–")),
            }
            for group in groups
        ],
        [
            {
                **group.run.setup,
                "seeds": " ".join(map(str, group.seeds)),
                **{key: _cell(value) for key, value in group.settings.items()},
            }
            for group in groups
        ],
        numeric=list(_SHOWN)[3:],
        files=(result.model.source for group in groups for result in group.runs),
        exact=True,
    )


def protocol_table(groups: Sequence[Group], names: dict[Run, str]) -> Table:
    """One row per way of measuring: suite, problems, decoding, engine."""
    rows, data = [], []
    places = [(group.run, suite) for group in groups for suite in group.runs[0].suites]
    for run, suite in places:
        item = suite.base
        decoding = {key: item.decoding[key] for key in _DECODING if key in item.decoding}
        evaluated = [str(found.step) for found in suite.evaluations]
        rows.append(
            {
                "recipe": names[run],
                "suite": suite.name,
                "problems × samples": f"{item.n_problems} × {item.n_samples}",
                "decoding": "; ".join(f"{key} {setting(value)}" for key, value in decoding.items()),
                "engine": item.engine,
                "steps evaluated": ", ".join(evaluated),
                "suite sha256": short(item.suite_sha256),
            }
        )
        data.append(
            {
                **run.setup,
                "suite": suite.name,
                "n_problems": item.n_problems,
                "n_samples": item.n_samples,
                **{key: _cell(value) for key, value in decoding.items()},
                "engine": item.engine,
                "steps": " ".join(evaluated),
                "suite_sha256": item.suite_sha256,
            }
        )
    return Table.of(
        "protocol",
        "How it was measured",
        "The same for the base model and every checkpoint; the seeds of a recipe differ in the seed"
        " of the sampling alone.",
        rows,
        data,
        numeric=("problems × samples",),
        files=(suite.base.source for _, suite in places),
        exact=True,
    )


def cost_table(runs: Sequence[RunResults], names: dict[Run, str]) -> Table:
    """One row per run: time, hardware and tokens of its training and of its evaluations."""
    spent = [_cost(result) for result in runs]
    rows = [
        {
            "recipe": names[result.run],
            "seed": str(result.run.seed),
            "hardware": row["hardware"],
            **_shown_cost(row),
        }
        for result, row in zip(runs, spent, strict=True)
    ]
    if len(runs) > 1:
        total = {key: sum(row[key] for row in spent) for key in list(spent[0])[1:]}
        # Runs that start from the same base made it once.
        bases = {result.model.base_model.sha256: _base_cost(result) for result in runs}.values()
        total |= {
            key: sum(base[key] for base in bases) for key in ("base_seconds", "base_core_hours")
        }
        total["core_hours"] = sum(total[f"{stage}_core_hours"] for stage in _STAGES)
        rows.append({"recipe": "all", "seed": "", "hardware": "", **_shown_cost(total)})
    return Table.of(
        "cost",
        "What it cost",
        "Training is the time of the optimizer steps, rollouts included; evaluation takes in every"
        " step and suite; a base that was made here counts once for the runs that share it. GPU"
        " hours are those of training. Core hours are of base, training and evaluation on CPUs:"
        " time by the cores that each kept busy.",
        rows,
        [
            {**item.run.setup, "seed": item.run.seed, **row}
            for item, row in zip(runs, spent, strict=True)
        ],
        numeric=("seed", *list(rows[0])[3:]),
        files=(path for result in runs for path in result.files),
    )


def _cost(result: RunResults) -> dict[str, Any]:
    model = result.model
    evaluations = [item for suite in result.suites for item in suite.evaluations]
    cores = int(model.provenance.hardware.get("cores", 0))
    hours = model.train_seconds / 3600
    seconds = sum(item.seconds for item in evaluations)
    core_hours = {
        "train_core_hours": 0.0 if model.gpus else hours * _threads(result, "train", cores),
        "evaluation_core_hours": 0.0
        if model.gpus
        else seconds / 3600 * _threads(result, "evaluate", cores),
    }
    base = _base_cost(result)
    return {
        "hardware": f"{model.gpus} × {model.gpu or 'GPU'}" if model.gpus else f"{cores} cores",
        "train_seconds": model.train_seconds,
        "gpu_hours": hours * model.gpus,
        **base,
        **core_hours,
        "core_hours": base["base_core_hours"] + sum(core_hours.values()),
        "train_tokens": model.generated_tokens,
        "evaluation_seconds": seconds,
        "evaluation_tokens": sum(item.tokens for item in evaluations),
        "generation_seconds": sum(
            item.tokens / item.tokens_per_second for item in evaluations if item.tokens_per_second
        ),
    }


def _base_cost(result: RunResults) -> dict[str, float]:
    """Cost of a base that was made here; 0 for a published model, whose cost is not known."""
    cost = result.model.base_cost
    return {
        "base_seconds": cost.seconds if cost else 0.0,
        "base_core_hours": cost.seconds * cost.cores / 3600 if cost else 0.0,
    }


def _threads(result: RunResults, stage: str, cores: int) -> int:
    """Cores that a stage on CPUs kept busy; the machine's where its settings do not say it."""
    workers = result.model.settings.get("computation", {}).get(stage, {})
    return workers.get("processes", 1) * workers["threads"] if workers else cores


def _shown_cost(row: dict[str, Any]) -> dict[str, str]:
    generating = row["generation_seconds"]
    return {
        "base": duration(row["base_seconds"]) if row["base_seconds"] else "–",
        "training": duration(row["train_seconds"]),
        "GPU hours": f"{row['gpu_hours']:.2f}" if row["gpu_hours"] else "–",
        "core hours": f"{row['core_hours']:.2f}" if row["core_hours"] else "–",
        "tokens (training)": count(row["train_tokens"]),
        "evaluation": duration(row["evaluation_seconds"]),
        "tokens (evaluation)": count(row["evaluation_tokens"]),
        "tokens/s": f"{row['evaluation_tokens'] / generating:,.0f}" if generating else "–",
    }


def _cell(value: Any) -> Any:
    """A value as one field of CSV."""
    return str(value) if isinstance(value, list | dict) else value
