"""A model card for each trained model, as Hugging Face and ModelScope read it.

Its front matter has the scores in the form of `model-index`
(https://github.com/huggingface/hub-docs/blob/main/modelcard.md).
"""

from collections.abc import Sequence
from typing import Any

import yaml

from r1zero.report.inputs import RunResults, SuiteResults
from r1zero.report.measures import Change, change_of, factor, label, measures_of
from r1zero.report.setup_tables import flattened
from r1zero.report.text import (
    arrow,
    count,
    delta,
    duration,
    hardware,
    markdown_table,
    setting,
    short,
)
from r1zero.settings.sources import HubDataset, HubModel, Sources

# Models made on the spot are the project's own; others have the licence of their base model.
_OWN_LICENCE = "apache-2.0"
_TYPES = {"accuracy": "accuracy", "greedy_accuracy": "accuracy"}


def card_name(result: RunResults) -> str:
    """Folder of a model's card."""
    run = result.run
    return f"{run.recipe}-{run.backend}-seed{run.seed}"


def card(result: RunResults, sources: Sources) -> str:
    """Write the README.md of a trained model; `sources` name its base model and dataset."""
    repository = _repository(sources.models.get(result.model.base_model.name))
    changes = {
        suite.name: [change_of([suite], name) for name in measures_of(suite)]
        for suite in result.suites
    }
    front = yaml.safe_dump(_front(result, changes, sources), sort_keys=False, allow_unicode=True)
    sections = [
        f"---\n{front}---",
        f"# {card_name(result)}",
        _what(result, repository),
        _scores(result.suites, changes),
        _training(result),
        _measurement(result.suites),
        _limits(result),
        _origin(result),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _front(
    result: RunResults,
    changes: dict[str, list[Change]],
    sources: Sources,
) -> dict[str, Any]:
    settings = result.model.settings
    base = sources.models.get(result.model.base_model.name)
    front = _licence(base, is_mini_base=settings.get("is_mini_base", False))
    if repository := _repository(base):
        front |= {"base_model": repository, "base_model_relation": "finetune"}
    if dataset := _repository(sources.datasets.get(settings.get("dataset", ""))):
        front["datasets"] = [dataset]
    return front | {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["r1-zero", "grpo", "reinforcement-learning", "r1zero", result.run.task],
        "metrics": ["accuracy"],
        "model-index": [
            {
                "name": card_name(result),
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": name, "type": name},
                        "metrics": [
                            {
                                "type": _TYPES.get(change.measure, change.measure),
                                "name": label(change.measure),
                                "value": round(change.trained * factor(change.measure), 2),
                            }
                            for change in found
                        ],
                    }
                    for name, found in changes.items()
                ],
            }
        ],
    }


def _repository(source: object) -> str | None:
    """Repository on the hubs of a published model or dataset."""
    if not isinstance(source, HubModel | HubDataset):
        return None
    place = source.huggingface or source.modelscope
    return place.repo if place else None


def _licence(base: object, *, is_mini_base: bool) -> dict[str, Any]:
    """The licence as the hubs name it, which is that of the base model."""
    if is_mini_base:
        return {"license": _OWN_LICENCE}
    name = base.licence if isinstance(base, HubModel) else "unknown"
    if name.startswith("LicenseRef-"):
        return {"license": "other", "license_name": name.removeprefix("LicenseRef-").lower()}
    return {"license": name.lower()}


def _what(result: RunResults, repository: str | None) -> str:
    run = result.run
    base = repository or result.model.base_model.name
    last = result.suites[0].trained.step
    return (
        f"`{base}` after {last} steps of GRPO on the task {run.task}, by the recipe `{run.recipe}`"
        f" at scale {run.scale}, backend {run.backend}, seed {run.seed}. A replication of"
        " R1-Zero: reinforcement learning from a verifier, without supervised examples of thought."
    )


def _scores(suites: Sequence[SuiteResults], changes: dict[str, list[Change]]) -> str:
    rows = [
        (suite.name, label(change.measure), arrow(change), delta(change), change.verdict)
        for suite in suites
        for change in changes[suite.name]
    ]
    headings = ("suite", "metric", "base → this model", "change [95 % interval]", "verdict")
    return (
        "## Scores\n\n"
        + markdown_table(headings, rows, {2, 3})
        + "\nIntervals are paired by problem. They cover problems and the sampling of completions,"
        " not the seed of the training."
    )


def _training(result: RunResults) -> str:
    flat = flattened(result.model.settings)
    shown = ("algorithm.", "sizes.", "rewards", "dataset", "prompt", "dtype")
    rows = [
        (key, _plain(value))
        for key, value in flat.items()
        if key.startswith(shown) and value is not None
    ]
    gpus = result.model.gpus
    where = f"{gpus} GPUs" if gpus else hardware(result.model.provenance.hardware)
    return (
        "## How it was trained\n\n"
        f"{duration(result.model.train_seconds)} on {where};"
        f" {count(result.model.generated_tokens)} tokens were generated.\n\n"
        + markdown_table(("setting", "value"), rows)
    )


def _measurement(suites: Sequence[SuiteResults]) -> str:
    rows = [
        (
            suite.name,
            f"{suite.base.n_problems} × {suite.base.n_samples}",
            ", ".join(f"{key} {setting(value)}" for key, value in suite.base.decoding.items()),
            suite.base.engine,
        )
        for suite in suites
    ]
    return (
        "## How it was measured\n\n"
        "Base and trained model in the same way, on problems that the training never saw.\n\n"
        + markdown_table(("suite", "problems × samples", "decoding", "engine"), rows, {1})
    )


def _limits(result: RunResults) -> str:
    texts = [
        "It was trained to answer one kind of problem in one format, and measured on no other:"
        " nothing is known of what it says to anything else.",
        "Its thoughts are not checked, only its answers: they may be wrong where the answer is"
        " right.",
    ]
    if result.run.scale != "paper":
        texts.append(
            f"It is a model of scale {result.run.scale}, made to show a method at work. It knows no"
            " language."
        )
    if not result.model.settings.get("is_mini_base", False):
        texts.append("The licence of the base model applies.")
    return "## Limits\n\n" + "\n".join(f"- {text}" for text in texts)


def _origin(result: RunResults) -> str:
    model = result.model
    versions = ", ".join(f"{name} {model.provenance.versions[name]}" for name in _versions(result))
    last = {item.step: item.sha256 for item in model.checkpoints}.get(
        result.suites[0].trained.step, ""
    )
    rows = [
        ("settings", short(model.config_hash)),
        ("training data", short(model.data_hash)),
        ("base model", short(model.base_model.sha256)),
        ("this model", short(last)),
        ("commit", model.provenance.commit),
        ("packages", versions),
    ]
    return (
        "## Where it comes from\n\n"
        + markdown_table(("what", "hash or version"), rows)
        + "\nThe whole hashes are in the report's `report.json` and the run's `model.json`."
    )


def _versions(result: RunResults) -> list[str]:
    return sorted(result.model.provenance.versions)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(
            f"{item.get('weight', 1):g} × {item['name']}" if isinstance(item, dict) else str(item)
            for item in value
        )
    return setting(value)
