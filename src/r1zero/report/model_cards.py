"""A model card for each trained model, as Hugging Face and ModelScope read it.

Its front matter has the scores as `model-index`
(https://github.com/huggingface/hub-docs/blob/main/modelcard.md).
"""

from collections.abc import Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from r1zero.core.formatting import count
from r1zero.report.paper.text import (
    arrow,
    delta,
    duration,
    hardware,
    markdown_table,
    setting,
    short,
)
from r1zero.report.results.inputs import RunResults, SuiteResults
from r1zero.report.statistics.measures import Change, change_of, factor, label, measures_of
from r1zero.settings.sources import HubDataset, HubModel, Sources

# Licence of models that start from a mini base; others have the licence of their base model.
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
    sections = [
        f"---\n{_metadata(result, changes, sources).to_yaml()}\n---",
        f"# {card_name(result)}",
        _what(result, repository),
        _scores(result.suites, changes),
        _training(result),
        _measurement(result.suites),
        _limits(result),
        _origin(result),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _metadata(
    result: RunResults, changes: dict[str, list[Change]], sources: Sources
) -> ModelCardData:
    settings = result.model.settings
    base = sources.models.get(result.model.base_model.name)
    repository = _repository(base)
    dataset = _repository(sources.datasets.get(settings.get("dataset", "")))
    return ModelCardData(
        **_licence(base, is_mini_base=settings.get("is_mini_base", False)),
        base_model=repository,
        base_model_relation="finetune" if repository else None,
        datasets=[dataset] if dataset else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["r1-zero", "grpo", "reinforcement-learning", "r1zero", result.run.task],
        metrics=["accuracy"],
        model_name=card_name(result),
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=suite,
                dataset_name=suite,
                metric_type=_TYPES.get(change.measure, change.measure),
                metric_name=label(change.measure),
                metric_value=round(change.trained * factor(change.measure), 2),
            )
            for suite, found in changes.items()
            for change in found
        ],
    )


def _repository(source: object) -> str | None:
    """Repository of a published model or dataset on the hubs."""
    if not isinstance(source, HubModel | HubDataset):
        return None
    place = source.huggingface or source.modelscope
    return place.repo if place else None


def _licence(base: object, *, is_mini_base: bool) -> dict[str, Any]:
    """The licence of the base model, as the hubs name it."""
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
    shown = ("algorithm.", "sizes.", "rewards", "dataset", "prompt", "dtype")
    rows = [
        (key, _shown(value))
        for key, value in result.model.flat_settings.items()
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


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(
            f"{item.get('weight', 1):g} × {item['name']}" if isinstance(item, dict) else str(item)
            for item in value
        )
    return setting(value)
