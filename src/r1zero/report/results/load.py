"""Read all inputs of a report and refuse what cannot be compared.

The refusals are the invariants of the report: runs of one backend were trained with the same
versions of its packages, everything was measured with the same versions, and base and trained model
were measured the same way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from r1zero.core.errors import UserError
from r1zero.core.formatting import shortlist
from r1zero.report.results.inputs import (
    Evaluation,
    Model,
    ReleasedModel,
    ReleasedResults,
    Run,
    RunResults,
    SuiteResults,
    read_input,
    read_training,
)
from r1zero.report.results.versions import MEASURING, packages_that_must_agree

_Kind = TypeVar("_Kind", Model, Evaluation)


def load(models: Iterable[Path], evaluations: Iterable[Path]) -> list[RunResults]:
    """Read all inputs, ordered by recipe, backend and seed, or raise `UserError`."""
    trained = [read_input(path, Model) for path in models]
    measured = [read_input(path, Evaluation) for path in evaluations]
    if not trained:
        raise UserError("no model.json given: nothing to report")
    _refuse(trained, lambda _: "", lambda model: {"scale": model.run.scale}, "one scale a report")
    one_table = "results of different versions never share a table"
    _refuse(trained, lambda model: model.run.backend, _trained_with, one_table)
    _refuse(measured, lambda _: "", lambda item: _versions(item, MEASURING), one_table)
    by_run: dict[Run, Model] = {}
    for model in trained:
        if model.run in by_run:
            message = f"the same run ({model.run}) as {by_run[model.run].source}"
            raise UserError(message, where=str(model.source))
        by_run[model.run] = model
    for evaluation in measured:
        _refuse_stale(evaluation, by_run.get(evaluation.run))
    setup = "the seeds of a recipe share a table only if they differ in nothing else"
    _refuse(trained, lambda model: str(model.run.setup), lambda model: model.flat_settings, setup)
    ordered = sorted(trained, key=lambda item: (item.run.recipe, item.run.backend, item.run.seed))
    runs = [
        RunResults(
            model,
            _suites(model, [item for item in measured if item.run == model.run]),
            read_training(model.metrics),
        )
        for model in ordered
    ]
    _refuse(
        [suite.base for result in runs for suite in result.suites],
        lambda item: f"{item.run.setup}, {item.suite}",
        lambda item: {key: value for key, value in _protocol(item).items() if key != "seed"},
        "the seeds of a recipe are measured in the same way, on the same problems",
    )
    return runs


def load_released(
    models: Iterable[Path], evaluations: Iterable[Path], beside: Sequence[RunResults] = ()
) -> list[ReleasedResults]:
    """Read the files of released models, or raise `UserError`.

    Args:
        models: `model.json` of each.
        evaluations: Their evaluations.
        beside: Runs of the same report, whose versions theirs have to be.

    """
    described = [read_input(path, ReleasedModel) for path in models]
    measured = [read_input(path, Evaluation) for path in evaluations]
    others = [suite.base for result in beside for suite in result.suites]
    one_table = "results of different versions never share a table"
    _refuse([*others, *measured], lambda _: "", lambda item: _versions(item, MEASURING), one_table)
    by_hash = {(model.config_hash, model.base_model.sha256): model for model in described}
    for item in measured:
        if (item.config_hash, item.model_sha256) not in by_hash:
            raise UserError(
                "is of no released model that is given, or of other weights or settings",
                where=str(item.source),
                hint="stale: evaluate this model again",
            )
    return [
        ReleasedResults(
            model,
            tuple(
                item
                for item in measured
                if (item.config_hash, item.model_sha256)
                == (model.config_hash, model.base_model.sha256)
            ),
        )
        for model in described
    ]


def _refuse(
    items: Iterable[_Kind],
    kind: Callable[[_Kind], str],
    compared: Callable[[_Kind], Mapping[str, Any]],
    hint: str,
) -> None:
    """Raise `UserError` for an item that differs from the first of its kind.

    Args:
        items: What was read.
        kind: The kind of an item.
        compared: What must agree among the items of a kind.
        hint: Which rule it breaks.

    """
    first: dict[str, _Kind] = {}
    for item in items:
        known = first.setdefault(kind(item), item)
        wanted, found = compared(known), compared(item)
        differing = [
            f"{key} {found.get(key, 'none')} (not {wanted.get(key, 'none')})"
            for key in sorted(wanted.keys() | found.keys())
            if found.get(key) != wanted.get(key)
        ]
        if differing:
            message = f"{shortlist(differing, most=3)}: unlike {known.source}"
            raise UserError(message, where=str(item.source), hint=hint)


def _trained_with(model: Model) -> dict[str, str]:
    return _versions(model, packages_that_must_agree(model.run.backend))


def _versions(item: Model | Evaluation, packages: Sequence[str]) -> dict[str, str]:
    made = item.provenance.versions
    return {name: made[name] for name in packages if name in made}


def _protocol(item: Evaluation) -> dict[str, Any]:
    """What was measured, and how."""
    return {
        **item.decoding,
        "suite_sha256": item.suite_sha256,
        "engine": item.engine,
        "n_samples": item.n_samples,
        **{f"problem {name}": "asked" for name in item.problem_ids},
    }


def _suites(model: Model, evaluations: Sequence[Evaluation]) -> tuple[SuiteResults, ...]:
    """Group the evaluations of one run by suite, and check that each suite can be compared."""
    where = str(model.source)
    if not evaluations:
        raise UserError(f"the run ({model.run}) has no evaluation", where=where)
    found: dict[str, dict[int, Evaluation]] = {}
    for item in evaluations:
        by_step = found.setdefault(item.suite, {})
        if item.step in by_step:
            message = f"the same run, suite and step as {by_step[item.step].source}"
            raise UserError(message, where=str(item.source))
        by_step[item.step] = item
    for name, by_step in found.items():
        if 0 not in by_step:
            message = f"the run ({model.run}) has no evaluation of step 0 on {name}"
            raise UserError(message, where=where, hint="evaluate the base model, step 0")
        if len(by_step) == 1:
            message = f"the run ({model.run}) has no evaluation of a trained step on {name}"
            raise UserError(message, where=where, hint="evaluate a checkpoint")
        ordered = [by_step[step] for step in sorted(by_step)]
        hint = "base and trained model must be measured the same way"
        _refuse(ordered, lambda _: "", _protocol, hint)
    return tuple(
        SuiteResults(name, tuple(found[name][step] for step in sorted(found[name])))
        for name in sorted(found)
    )


def _refuse_stale(evaluation: Evaluation, model: Model | None) -> None:
    """Refuse an evaluation of other weights or settings than those of its run."""
    where = str(evaluation.source)
    if model is None:
        raise UserError(f"its run ({evaluation.run}) has no model.json here", where=where)
    expected = model.model_hash(evaluation.step)
    message = ""
    if evaluation.config_hash != model.config_hash:
        message = (
            f"config_hash is {evaluation.config_hash}, {model.source} says {model.config_hash}"
        )
    elif expected is None:
        message = f"step {evaluation.step} is not among the checkpoints of {model.source}"
    elif evaluation.model_sha256 != expected:
        message = f"model_sha256 is {evaluation.model_sha256}, {model.source} says {expected}"
    if message:
        raise UserError(message, where=where, hint="stale: evaluate this run again")
