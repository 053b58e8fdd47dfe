"""Names of this project for what published files name: model, data, task, prompt, rewards."""

import re
from collections.abc import Mapping
from typing import Any

from r1zero.errors import UserError
from r1zero.imports.draft import Draft, Given
from r1zero.prompts import prompt_names
from r1zero.settings import Recipe, Sources
from r1zero.tasks.problems import fits

# Terms that files name in several ways.
_REWARDS = {
    "accuracy": "correct",
    "accuracy_reward": "correct",
    "reasoning_accuracy_reward": "correct",
    "equation": "correct",
    "equation_reward_func": "correct",
    "correct": "correct",
    "format": "format",
    "format_reward": "format",
    "format_reward_func": "format",
    "think_format_reward": "format",
}
_USUAL = {task: ("format", "correct") for task in ("countdown", "gsm8k", "math")}


def put_names(
    draft: Draft,
    sources: Sources,
    task: str | None,
    prompt: str | None,
    model: str | None,
    dataset: str | None,
    recipes: Mapping[str, Recipe],
) -> None:
    """Give a recipe its model, dataset, task, prompt and rewards.

    `recipes` are those there are: files hold no prompt, and that of a like recipe is assumed.
    """
    models = {name: _repositories(entry) for name, entry in sources.models.items()}
    datasets = {name: _repositories(entry) for name, entry in sources.datasets.items()}
    _put_name(draft, "model", model, models, ("model_name_or_path", "model"))
    keys = ("dataset_id_or_path", "dataset_name", "dataset")
    _put_name(draft, "dataset", dataset, datasets, keys)
    entry = sources.datasets.get(draft.values.get("dataset", ""))
    task = _put_task(draft, task, entry.format if entry else None)
    _put_prompt(draft, task, prompt, recipes)
    _put_rewards(draft, task)


def _repositories(entry: Any) -> set[str]:
    places = (getattr(entry, "huggingface", None), getattr(entry, "modelscope", None))
    return {place.repo for place in places if place}


def _put_name(
    draft: Draft,
    kind: str,
    option: str | None,
    table: dict[str, set[str]],
    keys: tuple[str, ...],
) -> None:
    given = draft.take(*keys)
    if option:
        told = f"{given.key} {given.value}" if given else f"--{kind}"
        draft.put(kind, option, told, f"--{kind}")
        return
    if given is None or not isinstance(given.value, str):
        draft.lack(kind, kind, f"the files name none: --{kind} NAME of config/sources.yaml")
        return
    hub_name = _without_sampling(draft, given)
    source = f"{given.key} {hub_name}"
    names = [name for name, repos in table.items() if name == hub_name or _is_in(hub_name, repos)]
    if names:
        draft.put(kind, names[0], source, f"{draft.file}: {given.key}: {hub_name}")
        return
    # A path of someone's machine keeps the name that the hub has.
    last = hub_name.rstrip("/").rpartition("/")[2]
    alike = [
        name
        for name, repos in table.items()
        if last == name or _is_in(last, {_last(repo) for repo in repos})
    ]
    # Several entries may be of one repository.
    same = all(table[name] == table[alike[0]] for name in alike)
    if alike and same and not re.fullmatch(r"[\w.-]+/[\w.-]+", hub_name):
        draft.put(kind, alike[0], source, f"assumed from {given.key}: {hub_name}")
        return
    owner_and_name = hub_name if "/" in hub_name else "OWNER/NAME"
    more = ", format: TASK, splits: {train: {files: [...]}}" if kind == "dataset" else ""
    draft.lack(
        kind,
        source,
        f"not in config/sources.yaml: add to {kind}s `NAME: {{kind: hub, huggingface: "
        f"{{repo: {owner_and_name}}}, licence: unknown, gigabytes: N{more}}}`, "
        f"or say --{kind} NAME",
    )


def _last(repo: str) -> str:
    return repo.rpartition("/")[2]


def _is_in(name: str, repos: set[str]) -> bool:
    return name.casefold() in {repo.casefold() for repo in repos}


def _without_sampling(draft: Draft, given: Given) -> str:
    """Name of a dataset without what ms-swift lets follow it: hub, subset, number of rows."""
    text: str = given.value
    if draft.found.dialect != "swift" or given.key != "dataset":
        return text
    text = re.sub(r"^(hf|ms)::", "", text, flags=re.IGNORECASE)
    name, _, count = text.partition("#")
    name, _, subset = name.partition(":")
    if count:
        what = "the dataset's entry in config/sources.yaml says which rows; check them"
        draft.lost[f"{given.key} {count} rows"] = what
    if subset:
        what = "the dataset's entry in config/sources.yaml says which files; check them"
        draft.lost[f"{given.key} subset {subset}"] = what
    return name


def _put_task(draft: Draft, option: str | None, of_data: str | None) -> str | None:
    if option and of_data and option != of_data:
        hint = f"dataset {draft.values['dataset']} has rows of {of_data}"
        raise UserError(f"'{option}' is not the task of the data", where="--task", hint=hint)
    task = option or of_data
    if task is None:
        draft.lack("task", "task", "say --task NAME, e.g. countdown")
    else:
        origin = "--task" if option else "what the rows of the dataset are"
        draft.put("task", task, "--task" if option else "(the dataset's rows)", origin)
    return task


def _put_prompt(
    draft: Draft, task: str | None, option: str | None, recipes: Mapping[str, Recipe]
) -> None:
    there = [name for name in prompt_names() if task and fits(name, task)]
    if option:
        draft.put("prompt", option, "--prompt", "--prompt")
        if option not in prompt_names():
            file = f"src/r1zero/prompts/{option}.yaml"
            draft.lost[f"the text of prompt {option}"] = f"no such template yet: write {file}"
    elif like := _most_alike(draft, task, recipes):
        origin = f"assumed: that of recipe {like}; the files hold no prompt"
        draft.put("prompt", recipes[like].prompt, "(assumed)", origin)
    elif len(there) == 1:
        origin = f"assumed: the only template of {task}; the files hold no prompt"
        draft.put("prompt", there[0], "(assumed)", origin)
    else:
        known = f"; of {task} there are: {', '.join(there)}" if there else ""
        draft.lack("prompt", "prompt", f"the files hold no prompt: say --prompt NAME{known}")


def _most_alike(draft: Draft, task: str | None, recipes: Mapping[str, Recipe]) -> str | None:
    """The recipe of the task with the same data, if there is one, and with the same model."""
    alike = {
        name: (recipe.model == draft.values.get("model"))
        for name, recipe in recipes.items()
        if recipe.task == task and recipe.dataset == draft.values.get("dataset")
    }
    return max(alike, key=lambda name: alike[name], default=None)


def _put_rewards(draft: Draft, task: str | None) -> None:
    given, weights = draft.take("reward_funcs"), draft.take("reward_weights")
    if given is None or not given.value:
        if task not in _USUAL:
            draft.lack("rewards", "rewards", "the files name none; write them into the file")
            return
        if weights and weights.value:
            draft.lost[weights.key] = "weights without names; the recipe weighs all alike"
        terms = [{"name": name, "weight": 1.0} for name in _USUAL[task]]
        draft.put("rewards", terms, "(assumed)", f"assumed: the usual ones of {task}")
        return
    published = _as_list(given)
    factors = (
        [Given(weights.key, w, weights.where).number().real() for w in _as_list(weights)]
        if (weights and weights.value)
        else [1.0] * len(published)
    )
    if len(factors) != len(published):
        raise UserError(
            f"has {len(factors)} values for {len(published)} rewards",
            where=weights.where if weights else given.where,
        )
    terms = []
    for name, weight in zip(published, factors, strict=True):
        known = _REWARDS.get(str(name).rpartition(".")[2])
        if known and known not in [term["name"] for term in terms]:
            terms.append({"name": known, "weight": weight})
        else:
            what = "a second one of the same name" if known else "no task has it"
            draft.lost[f"reward {name}"] = f"{what}; the recipe goes without it"
    if terms:
        named = " ".join(str(name) for name in published)
        draft.put("rewards", terms, f"reward_funcs {named}", f"{draft.file}: reward_funcs {named}")
    else:
        draft.lack("rewards", "rewards", "no task has any of them")


def _as_list(given: Given) -> list[Any]:
    return given.value if isinstance(given.value, list) else str(given.value).split()
