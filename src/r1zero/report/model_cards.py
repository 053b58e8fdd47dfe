"""A model card for each trained model, as Hugging Face and ModelScope read it.

Its front matter has the scores as `model-index`
(https://github.com/huggingface/hub-docs/blob/main/modelcard.md).
"""

from importlib.resources import files
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment

from r1zero.core.formatting import count
from r1zero.report.paper.text import (
    arrow,
    delta,
    duration,
    hardware,
    markdown_table,
    setting,
    short,
    versions,
)
from r1zero.report.results.inputs import RunResults
from r1zero.report.statistics.measures import Change, change_of, factor, label, measures_of
from r1zero.settings.sources import HubDataset, HubModel, Sources

# Licence of models that start from a mini base; others have the licence of their base model.
_OWN_LICENCE = "apache-2.0"
_TEMPLATE = files("r1zero.report").joinpath("model_card.md")
# Beginnings of the settings that a model card shows.
_SHOWN = ("algorithm.", "sizes.", "rewards", "dataset", "prompt", "dtype")
_TYPES = {"accuracy": "accuracy", "greedy_accuracy": "accuracy"}


def card_name(result: RunResults) -> str:
    """Folder of a model's card."""
    run = result.run
    base = f"_base{run.base_seed}" if run.base_seed else ""
    return f"{run.recipe}-{run.backend}-seed{run.seed}{base}"


def card(result: RunResults, sources: Sources) -> str:
    """Write the README.md of a trained model; `sources` name its base model and dataset."""
    model, last = result.model, result.suites[0].trained.step
    changes = {
        suite.name: [change_of([suite], name) for name in measures_of(suite)]
        for suite in result.suites
    }
    machine = f"{model.gpus} GPUs" if model.gpus else hardware(model.provenance.hardware)
    # The text of a model card is Markdown, which `markdown_table` has escaped.
    template = Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    return template.from_string(_TEMPLATE.read_text()).render(
        metadata=_metadata(result, changes, sources).to_yaml(),
        name=card_name(result),
        run=result.run,
        base=_repository(sources.models.get(model.base_model.name)) or model.base_model.name,
        steps=last,
        is_mini_base=model.settings.get("is_mini_base", False),
        is_instruct=model.starts_from == "an instruction-tuned model",
        scores=markdown_table(
            ("suite", "metric", "base → this model", "change [95 % interval]", "verdict"),
            [
                (suite, label(change.measure), arrow(change), delta(change), change.verdict)
                for suite, found in changes.items()
                for change in found
            ],
            {2, 3},
        ),
        duration=duration(model.train_seconds),
        machine=machine,
        tokens=count(model.generated_tokens),
        settings=markdown_table(
            ("setting", "value"),
            [
                (key, setting(value))
                for key, value in model.flat_settings.items()
                if key.startswith(_SHOWN) and value is not None
            ],
        ),
        measurement=markdown_table(
            ("suite", "problems × samples", "decoding", "engine"),
            [
                (
                    suite.name,
                    f"{suite.base.n_problems} × {suite.base.n_samples}",
                    ", ".join(
                        f"{key} {setting(value)}" for key, value in suite.base.decoding.items()
                    ),
                    suite.base.engine,
                )
                for suite in result.suites
            ],
            {1},
        ),
        origin=markdown_table(
            ("what", "hash or version"),
            [
                ("settings", short(model.config_hash)),
                ("training data", short(model.data_hash)),
                ("base model", short(model.base_model.sha256)),
                ("this model", short(model.model_hash(last) or "")),
                ("commit", model.provenance.commit),
                ("packages", versions(model.provenance)),
            ],
        ),
    )


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
