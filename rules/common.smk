"""What the rules share: the checked configuration, and functions from it to files and runs."""

import json
import os
import sys
from functools import cache
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from r1zero.core.errors import UserError
from r1zero.core.files import write_json
from r1zero.plan.command import architecture_of, layout_or_error
from r1zero.plan.machine import find_machine, require_stack
from r1zero.report.claims.plans import planned_recipes
from r1zero.rewards.functions import check_reward_functions
from r1zero.settings import (
    Sources,
    check_suites,
    load_config,
    load_recipe,
    load_scale,
    load_sources,
    published_recipes,
    recipe_names,
    resolve_run,
    selected_variants,
    suites_beside,
    table_of,
)
from r1zero.settings.sources import are_alike
from r1zero.sources.command import LOCK
from r1zero.sources.lock import Lock
from r1zero.sources.verify import check_lock
from r1zero.train.trackers import require_trackers


class Run(NamedTuple):
    """Wildcards of one run."""

    scale: str
    recipe: str
    backend: str
    seed: int

    @property
    def folder(self):
        return f"{self.scale}/{self.recipe}/{self.backend}/seed{self.seed}"


def checked(load, *args, **kwargs):
    """Call a loader; what the user can mend becomes one line, without a traceback."""
    try:
        return load(*args, **kwargs)
    except UserError as error:
        # A WorkflowError would be printed with the lines of this file that raised it.
        sys.exit(f"error: {error}")


settings = checked(load_config, config)
scale = checked(load_scale, settings.scale)
# A scale for the CPU leaves the GPUs alone, whatever the machine has.
hardware = settings.hardware
if scale.device == "cpu":
    hardware = hardware.model_copy(update={"gpus": 0})
machine = checked(find_machine, hardware)
gpus = machine.gpus_per_node
# Snakemake only counts GPUs. So many are in use at once that runs and evaluations share none; what
# the command line says goes before. A cluster counts its own.
if workflow.local_exec and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", max(gpus, 1))
# Shipped entries, the user's, and the files of the user's suites.
table = checked(table_of, settings)

# Jobs inherit these. They are no params: from another mirror, or watched by another tracker, comes
# nothing new.
endpoints = [each.model_dump(mode="json", exclude_none=True) for each in settings.endpoints]
os.environ.update(
    R1ZERO_ENDPOINTS=json.dumps(endpoints),
    R1ZERO_OFFLINE="1" if settings.offline else "0",
    R1ZERO_TRACKING=settings.tracking.model_dump_json(),
)
checked(require_trackers, settings.tracking)


# Names of variants, which runs go by, with the recipe of each and what is varied.
variants = checked(selected_variants, settings)


def settings_of(wildcards):
    """Resolved settings of a run."""
    return resolved_run(wildcards.recipe, wildcards.scale, wildcards.backend, int(wildcards.seed))


@cache
def resolved_run(name, scale, backend, seed):
    """The same, of the values of the wildcards: many functions ask for it."""
    recipe, vary = variants.get(name, (name, {}))
    return checked(resolve_run, recipe, scale=scale, backend=backend, seed=seed, vary=vary)


def recipe_options(wildcards):
    """A run's recipe, and what is varied, as `resolve` takes them."""
    recipe, vary = variants.get(wildcards.recipe, (wildcards.recipe, {}))
    return " ".join([recipe, *(f"--vary {quote(f'{key}={vary[key]}')}" for key in vary)])


def runs_of(recipe):
    """Every run of a recipe: one per backend and seed."""
    return [
        Run(settings.scale, recipe, backend, seed)
        for backend in settings.backends
        for seed in settings.seeds
    ]


def task_of(name):
    """Task of a recipe or variant."""
    return recipes[variants.get(name, (name, {}))[0]].task


def model_of(run):
    """A run's trained model, as the small file that describes it."""
    return f"results/{run.folder}/model.json"


def suites_of(run):
    """Suites that a run is measured on, by name, with the sizes that they have of their own.

    They are the test rows of its dataset, the recipe's suites and the user's, whose sizes go first.
    """
    found = {run.dataset: {}}
    listed = [(suite.name, suite) for suite in run.evaluation.suites]
    own = [(name, suite) for name, suite in settings.suites.items() if suite.task == run.task]
    for name, suite in [*listed, *own]:
        sizes = suite.model_dump(include={"max_problems", "n_samples"}, exclude_none=True)
        found[name] = found.get(name, {}) | sizes
    return found


def evaluations_of(run):
    """A run's evaluations: each suite at step 0 and at every checkpoint."""
    resolved = settings_of(run)
    return [
        f"results/{run.folder}/evaluations/{suite}/step{step}.json"
        for suite in suites_of(resolved)
        for step in resolved.evaluated_steps
    ]


def dataset_of_suite(suite):
    """The dataset whose test rows a suite is."""
    own = settings.suites.get(suite)
    return (own and own.dataset) or suite


def problems_of_suite(wildcards):
    """Manifest of the problems of a suite, rendered with the run's prompt."""
    dataset = dataset_of_suite(wildcards.suite)
    return f"resources/problems/{dataset}/{settings_of(wildcards).prompt}/manifest.json"


def sizes_of_suite(wildcards):
    """Sizes of a suite that has its own, as options of `evaluate`."""
    sizes = suites_of(settings_of(wildcards)).get(wildcards.suite, {})
    return " ".join(f"--{key.replace('_', '-')} {size}" for key, size in sizes.items())


def task_manifest_of(run):
    """Manifest of the problems a run trains on."""
    return f"resources/problems/{run.dataset}/{run.prompt}/manifest.json"


def task_manifest(wildcards):
    """The same, of wildcards."""
    return task_manifest_of(settings_of(wildcards))


def model_manifest(wildcards):
    """Manifest of the model a run starts from."""
    run = settings_of(wildcards)
    where = f"bases/{run.scale}" if run.is_mini_base else "models"
    return f"resources/{where}/{run.model}/manifest.json"


def settings_of_base(wildcards):
    """Settings of a mini base, as JSON."""
    return checked(load_scale, wildcards.scale).bases[wildcards.base].model_dump_json()


def reward_models_of(run):
    """Names of the reward models of a run."""
    return [reward.model for reward in run.rewards if reward.model]


def reward_model_manifests(wildcards):
    """Their manifests, of wildcards."""
    return [
        f"resources/models/{name}/manifest.json"
        for name in reward_models_of(settings_of(wildcards))
    ]


def rows_of_base(wildcards):
    """Manifest of the rows that runs from a mini base train on, and of what they hold out."""
    made = checked(load_scale, wildcards.scale)
    dataset = made.tasks[made.bases[wildcards.base].traces.task].dataset
    return f"resources/rows/{dataset}/manifest.json"


def held_out_from(dataset):
    """Manifests of the datasets whose test rows must not be in a dataset's train, by suite."""
    source = table.datasets.get(dataset)
    if source is None or "train" not in source.split_names:
        return {}
    suites = suites_beside(dataset, recipes, scale)
    others = {name: name for name in suites if name in table.datasets}
    others |= {name: suite.dataset or name for name, suite in settings.suites.items()}
    return {
        name: f"resources/datasets/{other}/manifest.json"
        for name, other in others.items()
        if other != dataset and are_alike(table.datasets[other].format, source.format)
    }


def held_out_of(wildcards):
    """The same, of wildcards."""
    return held_out_from(wildcards.dataset)


def source_of(section, wildcard):
    """The entry of a dataset or model, the user's before that of the table, as JSON.

    Rules take it as a parameter: they run again when their own entry changes, not the whole table.
    """

    def entry(wildcards):
        name = getattr(wildcards, wildcard)
        known = getattr(table, section)
        if name not in known:
            sys.exit(f"error: {section}: unknown '{name}' (there are: {', '.join(known)})")
        return json.dumps({name: known[name].model_dump(mode="json", exclude_none=True)})

    return entry


def files_of_dataset(wildcards):
    """The user's files behind a local dataset."""
    source = table.datasets.get(wildcards.dataset)
    if source is None or source.kind != "local":
        return []
    return [path for path in (source.train, source.test) if path]


def sources_of(names):
    """Manifests of every dataset and model that recipes need."""
    wanted = [settings_of(run) for name in names for run in runs_of(name)]
    suites = {dataset_of_suite(suite) for run in wanted for suite in suites_of(run)}
    datasets = suites | {run.dataset for run in wanted}
    # What their rows are held against counts too: a suite of another task may hold out problems.
    held_out = {path for name in datasets for path in held_out_from(name).values()}
    models = sorted(
        {run.model for run in wanted if not run.is_mini_base}
        | {name for run in wanted for name in reward_models_of(run)}
    )
    return [
        *sorted({f"resources/datasets/{name}/manifest.json" for name in datasets} | held_out),
        *(f"resources/models/{name}/manifest.json" for name in models),
    ]


def finished(names):
    """All that is made of some recipes, and the report if there is one on just these."""
    files = [path for name in names for run in runs_of(name) for path in evaluations_of(run)]
    for report, reported_names in reports.items():
        if set(names) == set(reported_names):
            return [*files, f"results/{settings.scale}/{report}/report.pdf"]
    return files


def reported(wildcards):
    """Runs that a report is on."""
    return [run for name in reports[wildcards.report] for run in runs_of(name)]


def files_of_runs(wildcards, name):
    """A file of each of these runs, by its name in their folders."""
    return [f"results/{run.folder}/{name}" for run in reported(wildcards)]


def reported_sources(wildcards):
    """Entries of the sources that a report names: of its runs, and of plans that claims are on."""
    named = [settings_of(run) for run in reported(wildcards)]
    datasets = {run.dataset for run in named}
    models = {run.model for run in named} | {run["model"] for run in planned.values()}
    kept = Sources(
        datasets={name: source for name, source in table.datasets.items() if name in datasets},
        models={name: source for name, source in table.models.items() if name in models},
    )
    return kept.model_dump(mode="json", exclude_none=True)


def published_scores(wildcards):
    """What was published for the recipes of a report, as JSON."""
    scores = {
        name: [score.model_dump(mode="json") for score in recipes[name].published_scores]
        for name in reports[wildcards.report]
        if name in recipes
    }
    return json.dumps(scores)


recipes = {name: checked(load_recipe, name) for name in checked(recipe_names)}
published = checked(published_recipes)
# What the configuration selects: recipes, and the variants of its ablations.
selected = list(dict.fromkeys([*settings.recipes, *variants]))
tasks = sorted({task_of(name) for name in selected})
runs = [run for name in selected for run in runs_of(name)]
# Reports by folder, each on some recipes and variants.
reports = {"report": selected, "report_all": [*dict.fromkeys([*selected, *published])]}

# What targets train, by their names.
trained_by = {
    "train_all": reports["report_all"],
    **{f"train_{task}": [name for name in selected if task_of(name) == task] for task in tasks},
    **{f"{verb}_{name}": [name] for verb in ("train", "evaluate") for name in recipes},
}
# The published runs, by recipe, whose plans claims are on.
planned = {
    name: resolved_run(name, "paper", "trl", 0).model_dump(mode="json", exclude={"evaluation"})
    for name in planned_recipes()
}


def sizes_of_model(run):
    """Sizes of a run's model, as far as they are known."""
    return checked(architecture_of, table.models.get(run.model), run.model)


# What can't be laid out, or lacks a package, is said now and not after hours of downloads.
for run in runs:
    resolved = settings_of(run)
    layout = checked(layout_or_error, resolved, machine, sizes_of_model(resolved), hardware)
    checked(require_stack, layout.placement, layout.zero_stage)
    checked(check_reward_functions, resolved)
    checked(check_suites, resolved, table)

# Files that are not what the lock says are not trained on, however they came here.
for path in map(Path, sources_of(selected)):
    if path.is_file():
        checked(check_lock, Lock(LOCK), path.parts[1], path)
