"""Tables of `docs/backends.md`: which backend honours which setting, by asking each.

Every setting that decides weights is given values of its own, alone and in pairs, and each backend
is asked whether it refuses them (`check`) or treats them in another way (`differences`). So the
tables cannot say anything else than what a run is told.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple, TypeAlias

from pydantic import ValidationError

from r1zero.core.errors import UserError
from r1zero.plan.backend import load_backend
from r1zero.settings.backends import BACKENDS
from r1zero.settings.recipe import Algorithm, Sizes
from r1zero.settings.run import RunSettings

_MARK = "<!-- tables: python -m r1zero schema -->"

Values: TypeAlias = Mapping[str, Any]
"""Settings by dotted key, as one changes them in a recipe."""

# A run of scale mini with the settings of the GRPO paper; each value is tried on it.
_BASE: dict[str, Any] = {
    "recipe": "probe",
    "seed": 0,
    "scale": "mini",
    "task": "countdown",
    "model": "mini_countdown",
    "is_mini_base": True,
    "dataset": "countdown_3",
    "prompt": "countdown_datawhale",
    "placement": "colocate",
    "dtype": "bfloat16",
    "rewards": [{"name": "correct"}],
    "algorithm": {
        "loss_type": "grpo",
        "scale_rewards": "group",
        "beta": 0.04,
        "num_generations": 8,
        "lr_scheduler_type": "constant",
    },
    "sizes": {
        "max_steps": 48,
        "prompts_per_step": 32,
        "max_prompt_length": 64,
        "max_completion_length": 272,
        "learning_rate": 1e-3,
        "save_steps": 24,
    },
    "evaluation": {"max_problems": 512, "n_samples": 1, "temperature": 1.0},
}
# Settings outside of `algorithm` and `sizes`, with the changes that stand for their values.
_OTHERS: dict[str, dict[str, Values]] = {
    "model": {
        "a base of scale mini": {},
        "a published model": {"is_mini_base": False, "model": "qwen2.5-3b"},
    },
    "rewards": {
        "functions": {},
        "a reward model": {"rewards": [{"name": "quality", "model": "some-reward-model"}]},
    },
}


@dataclass(frozen=True, eq=False)
class Probe:
    """A value of a setting."""

    key: str
    shown: str
    changes: Values


# Settings that only count beside a value of another one.
_ONLY_WITH = {
    "algorithm.max_resamples": ("algorithm.zero_variance_groups", "`resample`"),
    "algorithm.rollout_importance_sampling_max": (
        "algorithm.rollout_importance_sampling",
        "`token`",
    ),
}


class Answer(NamedTuple):
    """What a backend says of a run: the setting that it does not honour as it stands, and why."""

    key: str
    kind: str
    """`refused` or `different`."""
    reason: str


def with_tables(page: str) -> str:
    """A page with what stands between its two marks made again."""
    before, _, rest = page.partition(_MARK)
    _, mark, after = rest.partition(_MARK)
    if not mark:
        raise UserError(f"the page has not two lines `{_MARK}`", where="docs/backends.md")
    return f"{before}{_MARK}\n\n{tables()}\n{_MARK}{after}"


def tables() -> str:
    """Settings × backends with their reasons as notes, then layouts × backends."""
    notes: dict[str, int] = {}
    found = {name: answers_of(name) for name in BACKENDS}
    keys = dict.fromkeys(probe.key for probe in probes())
    rows = [[f"`{key}`", *(_cell(found[name], key, notes) for name in BACKENDS)] for key in keys]
    parts = [_table("setting", rows), "\n".join(f"{n}. {text}" for text, n in notes.items())]
    return "\n\n".join([*parts, _table("layout", list(_layouts()))]) + "\n"


def answers_of(backend: str) -> dict[Answer, list[tuple[Probe, ...]]]:
    """What a backend does not honour as it stands, with the fewest values that bring it about.

    A pair of values is listed only where neither of them alone is enough.
    """
    found: dict[Answer, list[tuple[Probe, ...]]] = {}
    always = _ask(backend)
    asked = {probe: _ask(backend, probe) for probe in probes()}
    causes: list[tuple[tuple[Probe, ...], set[Answer]]] = [((), always)]
    causes += [((probe,), answers - always) for probe, answers in asked.items()]
    causes += [
        ((first, second), _ask(backend, first, second) - always - asked[first] - asked[second])
        for first, second in combinations(asked, 2)
        if first.key != second.key
    ]
    for cause, answers in causes:
        for answer in sorted(answers):
            found.setdefault(answer, []).append(cause)
    return found


@cache
def probes() -> tuple[Probe, ...]:
    """Values of every setting: all choices of those that have choices, else one other number."""
    found = [
        Probe(key, shown, changes)
        for key, choices in _OTHERS.items()
        for shown, changes in choices.items()
    ]
    for section, model in (("algorithm", Algorithm), ("sizes", Sizes)):
        base = model.model_validate(_BASE[section]).model_dump()
        for name, schema in model.model_json_schema()["properties"].items():
            choices = schema.get("enum") or (
                [False, True] if schema.get("type") == "boolean" else None
            )
            for value in choices or [_other(base[name])]:
                key = f"{section}.{name}"
                shown = str(value).lower() if isinstance(value, bool) else f"{value}"
                found.append(Probe(key, f"`{shown}`", {key: value}))
    return tuple(found)


def _other(value: float | None) -> float:
    """Another number within the bounds that settings have."""
    return value * 2 or 2 if isinstance(value, int) else (value or 1.0) / 2


def _ask(backend: str, *changed: Probe) -> set[Answer]:
    """What a backend says of the base run with some changes; nothing where no recipe can be so."""
    run = _run(backend, *changed)
    if run is None:
        return set()
    try:
        load_backend(backend).check(run)
    except UserError as error:
        return {Answer((error.where or "").partition(": ")[2], "refused", error.message)}
    different = load_backend(backend).differences(run)
    return {Answer(key, "different", text) for key, text in different.items()}


def _run(backend: str, *changed: Probe) -> RunSettings | None:
    """The base run with some changes; None if the settings exclude each other."""
    content = {**_BASE, "backend": backend}
    for probe in changed:
        for key, value in probe.changes.items():
            section, _, name = key.rpartition(".")
            content |= {section: {**content[section], name: value}} if section else {name: value}
    try:
        return RunSettings.model_validate(content)
    except ValidationError:
        return None


def _cell(found: Mapping[Answer, list[tuple[Probe, ...]]], key: str, notes: dict[str, int]) -> str:
    """What a backend does with a setting, in a few words with a note."""
    parts = []
    other, value = _ONLY_WITH.get(key, ("", ""))
    for answer, causes in found.items():
        if answer[:2] == (other, "refused") and any(cause[0].shown == value for cause in causes):
            return "–"
        if answer.key == key:
            note = notes.setdefault(answer.reason, len(notes) + 1)
            values = " or ".join(dict.fromkeys(_words(cause, key) for cause in causes))
            parts.append(f"{answer.kind}{f': {values}' if values else ''} ({note})")
    return "; ".join(parts) or "honoured"


def _words(cause: tuple[Probe, ...], key: str) -> str:
    """A cause in a row of the table, where the setting of the row is known."""
    ordered = sorted(cause, key=lambda probe: probe.key != key)
    return " with ".join(
        probe.shown if probe.key == key else f"`{probe.key.rpartition('.')[2]}` {probe.shown}"
        for probe in ordered
    )


def _layouts() -> Iterator[list[str]]:
    run = RunSettings.model_validate({**_BASE, "backend": "trl"})
    found = [load_backend(name).constraints(run) for name in BACKENDS]
    rows: dict[str, Callable[[Any], bool]] = {
        "generation in the trainer, on the CPU": lambda each: "in_process" in each.placements,
        "generation on the GPUs that train (`colocate`)": lambda each: (
            "colocate" in each.placements
        ),
        "generation on GPUs of its own (`server`)": lambda each: "server" in each.placements,
        "optimizer states sharded (ZeRO-2)": lambda each: "optimizer" in each.shardings,
        "weights sharded (ZeRO-3)": lambda each: "full" in each.shardings,
        "states in the memory of the host": lambda each: each.offload,
        "reference model on a server of its own": lambda each: "server" in each.references,
        "a group cut over processes": lambda each: each.equal_share_of == "completions",
    }
    for name, has in rows.items():
        yield [name, *("yes" if has(each) else "no" for each in found)]


def _table(first: str, rows: list[list[str]]) -> str:
    names = [f"`{name}`" for name in BACKENDS]
    lines = [[first, *names], ["---"] * (len(names) + 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
