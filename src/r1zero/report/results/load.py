"""Read all inputs of a report and refuse what cannot be compared.

The refusals are the invariants of the report: runs of one backend were trained with the same
versions of its packages, everything was measured with the same versions, and base and trained model
were measured the same way.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from r1zero.core.errors import UserError
from r1zero.report.results.inputs import (
    Evaluation,
    Model,
    Run,
    RunResults,
    SuiteResults,
    read_input,
    read_training,
)
from r1zero.report.results.versions import MEASURING, packages_that_must_agree


def load(models: Iterable[Path], evaluations: Iterable[Path]) -> list[RunResults]:
    """Read all inputs, ordered by recipe, backend and seed, or raise `UserError`."""
    trained = [read_input(path, Model) for path in models]
    measured = [read_input(path, Evaluation) for path in evaluations]
    if not trained:
        raise UserError("no model.json given: nothing to report")
    _refuse_mixed_scales(trained)
    for backend in dict.fromkeys(model.run.backend for model in trained):
        of_backend = [model for model in trained if model.run.backend == backend]
        _refuse_mixed_versions(of_backend, packages_that_must_agree(backend))
    _refuse_mixed_versions(measured, MEASURING)
    by_run: dict[Run, Model] = {}
    for model in trained:
        if model.run in by_run:
            message = f"the same run ({model.run}) as {by_run[model.run].source}"
            raise UserError(message, where=str(model.source))
        by_run[model.run] = model
    for evaluation in measured:
        _refuse_stale(evaluation, by_run.get(evaluation.run))
    _refuse_mixed_settings(trained)
    ordered = sorted(trained, key=lambda item: (item.run.recipe, item.run.backend, item.run.seed))
    runs = [
        RunResults(
            model,
            _suites(model, [item for item in measured if item.run == model.run]),
            read_training(model.metrics),
        )
        for model in ordered
    ]
    _refuse_different_measures(runs)
    return runs


def _suites(model: Model, evaluations: Sequence[Evaluation]) -> tuple[SuiteResults, ...]:
    """Group the evaluations of one run by suite, and check that each suite can be compared."""
    if not evaluations:
        message = f"the run ({model.run}) has no evaluation"
        raise UserError(message, where=str(model.source))
    names = sorted({evaluation.suite for evaluation in evaluations})
    return tuple(
        _suite(model, name, [item for item in evaluations if item.suite == name]) for name in names
    )


def _suite(model: Model, name: str, evaluations: Sequence[Evaluation]) -> SuiteResults:
    by_step: dict[int, Evaluation] = {}
    for evaluation in evaluations:
        if evaluation.step in by_step:
            message = f"the same run, suite and step as {by_step[evaluation.step].source}"
            raise UserError(message, where=str(evaluation.source))
        by_step[evaluation.step] = evaluation
    if 0 not in by_step:
        message = f"the run ({model.run}) has no evaluation of step 0, the base model, on {name}"
        raise UserError(message, where=str(model.source), hint="evaluate step 0 of this run")
    if len(by_step) == 1:
        message = f"the run ({model.run}) has no evaluation of a trained step on {name}"
        raise UserError(message, where=str(model.source), hint="evaluate a checkpoint")
    for evaluation in by_step.values():
        if reason := _difference(by_step[0], evaluation):
            message = f"{reason} from the base model's evaluation {by_step[0].source}"
            hint = "base and trained model must be measured the same way"
            raise UserError(message, where=str(evaluation.source), hint=hint)
    return SuiteResults(name, tuple(by_step[step] for step in sorted(by_step)))


def _refuse_stale(evaluation: Evaluation, model: Model | None) -> None:
    """Refuse an evaluation of other weights or settings than those of its run."""
    where = str(evaluation.source)
    if model is None:
        raise UserError(f"its run ({evaluation.run}) has no model.json here", where=where)
    hint = "stale: evaluate this run again"
    if evaluation.config_hash != model.config_hash:
        message = (
            f"config_hash is {evaluation.config_hash}, {model.source} says {model.config_hash}"
        )
        raise UserError(message, where=where, hint=hint)
    expected = model.model_hash(evaluation.step)
    if expected is None:
        message = f"step {evaluation.step} is not among the checkpoints of {model.source}"
        raise UserError(message, where=where, hint=hint)
    if evaluation.model_sha256 != expected:
        message = f"model_sha256 is {evaluation.model_sha256}, {model.source} says {expected}"
        raise UserError(message, where=where, hint=hint)


def _difference(one: Evaluation, other: Evaluation, *, seeds: bool = False) -> str:
    """How the second evaluation measured otherwise than the first; empty if it did not.

    With `seeds` the two are of runs with different seeds, so that the seed of the sampling differs.
    """
    keys = sorted(
        key
        for key in one.decoding.keys() | other.decoding.keys()
        if one.decoding.get(key) != other.decoding.get(key) and not (seeds and key == "seed")
    )
    if keys:
        return f"decoding differs in {', '.join(keys)}"
    if other.suite_sha256 != one.suite_sha256:
        return "suite_sha256 differs"
    if other.engine != one.engine:
        return f"engine {other.engine} differs"
    if other.problem_ids != one.problem_ids:
        return f"the problems differ, first in {min(other.problem_ids ^ one.problem_ids)}"
    return "" if other.n_samples == one.n_samples else f"n_samples is {other.n_samples}"


def _refuse_mixed_scales(models: Sequence[Model]) -> None:
    for model in models:
        if model.run.scale != models[0].run.scale:
            message = (
                f"scale is {model.run.scale}, {models[0].source} has {models[0].run.scale}:"
                " one report has one scale"
            )
            raise UserError(message, where=str(model.source))


def _refuse_mixed_settings(models: Sequence[Model]) -> None:
    """Refuse seeds of one recipe that differ in more than the seed."""
    first: dict[tuple[str, str], Model] = {}
    for model in models:
        known = first.setdefault((model.run.recipe, model.run.backend), model)
        keys = sorted(
            key
            for key in model.settings.keys() | known.settings.keys()
            if key != "seed" and model.settings.get(key) != known.settings.get(key)
        )
        if keys:
            message = f"settings differ in {', '.join(keys)} from those of {known.source}"
            hint = "the seeds of a recipe share a table only if they differ in nothing else"
            raise UserError(message, where=str(model.source), hint=hint)


def _refuse_different_measures(runs: Sequence[RunResults]) -> None:
    """Refuse seeds of one recipe that were not measured in the same way."""
    first: dict[tuple[str, str, str], Evaluation] = {}
    for result in runs:
        for suite in result.suites:
            run, base = result.run, suite.base
            known = first.setdefault((run.recipe, run.backend, suite.name), base)
            if reason := _difference(known, base, seeds=True):
                message = f"{reason} from {known.source} of another seed"
                hint = "the seeds of a recipe are measured in the same way, on the same problems"
                raise UserError(message, where=str(base.source), hint=hint)


def _refuse_mixed_versions(
    items: Sequence[Model] | Sequence[Evaluation], packages: Sequence[str]
) -> None:
    """Refuse files that were made with another version of a package than the first one."""
    for item in items:
        for package in packages:
            found = item.provenance.versions.get(package, "none")
            first = items[0].provenance.versions.get(package, "none")
            if found != first:
                message = f"made with {package} {found}, but {items[0].source} with {first}"
                hint = "results of different versions never share a table"
                raise UserError(message, where=str(item.source), hint=hint)
