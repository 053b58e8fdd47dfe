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
    _refuse_different_problems(runs)
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
        _refuse_different_measure(by_step[0], evaluation)
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


def _refuse_different_measure(base: Evaluation, other: Evaluation) -> None:
    """Refuse unless decoding, suite, problems and samples are those of the base model."""
    reason = ""
    if other.decoding != base.decoding:
        keys = sorted(
            key
            for key in base.decoding.keys() | other.decoding.keys()
            if base.decoding.get(key) != other.decoding.get(key)
        )
        reason = f"decoding differs in {', '.join(keys)}"
    elif other.suite_sha256 != base.suite_sha256:
        reason = "suite_sha256 differs"
    elif other.engine != base.engine:
        reason = f"engine {other.engine} differs"
    elif other.problem_ids != base.problem_ids:
        odd = min(other.problem_ids ^ base.problem_ids)
        reason = f"the problems differ, first in {odd}"
    elif other.n_samples != base.n_samples:
        reason = f"n_samples is {other.n_samples}, not {base.n_samples}"
    if reason:
        message = f"{reason} from the base model's evaluation {base.source}"
        hint = "base and trained must be measured the same way"
        raise UserError(message, where=str(other.source), hint=hint)


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


def _refuse_different_problems(runs: Sequence[RunResults]) -> None:
    """Refuse runs that answered different problems of one suite with one prompt."""
    first: dict[tuple[str, str, str], Evaluation] = {}
    for result in runs:
        for suite in result.suites:
            run, base = result.run, suite.base
            known = first.setdefault((run.recipe, run.backend, suite.name), base)
            message = ""
            if (base.suite_sha256, base.problem_ids) != (known.suite_sha256, known.problem_ids):
                message = f"other problems than {known.source}, of another seed"
            elif base.engine != known.engine:
                message = f"engine {base.engine}, and {known.source} of another seed {known.engine}"
            elif base.protocol != known.protocol:
                message = f"decoding or samples are not those of {known.source}, of another seed"
            if message:
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
