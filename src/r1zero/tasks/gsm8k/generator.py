"""Draw two-step word problems with the columns of GSM8K, `question, answer`.

Someone has a number of things, and two events change it. The words of an event decide what is done
with its number; every number is whole and positive.
"""

import random
from collections.abc import Collection
from typing import Any, Literal, NamedTuple

from r1zero.tasks.generators import Generated, distinct, words_of

_NAMES = (
    *("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry"),
    *("Iris", "Jack", "Kate", "Liam", "Mia", "Noah", "Olivia", "Paul"),
)
_THINGS = (
    *("apples", "books", "cards", "coins", "cookies", "flowers", "marbles", "nuts"),
    *("pencils", "photos", "puzzles", "shells", "stamps", "stickers", "stones", "toys"),
)
_STARTS = (
    "{name} has {number} {things}.",
    "{name} starts with {number} {things}.",
    "{name} owns {number} {things}.",
    "At first {name} has {number} {things}.",
)
_EVENTS = {
    "+": (
        "{name} buys {number} more.",
        "A friend gives {name} {number} more.",
        "{name} finds another {number}.",
        "{name} wins {number} in a game.",
        "{name} borrows {number} from a neighbour.",
        "Then {number} arrive in the mail.",
    ),
    "-": (
        "{name} gives {number} away.",
        "{name} loses {number} of them.",
        "{name} sells {number} at the market.",
        "A thief steals {number} of them.",
        "{name} returns {number} to the shop.",
        "Then {number} fall into the river.",
    ),
    "*": (
        "By evening {name} has {number} times as many.",
        "{name} trades each of them for {number} new ones.",
        "A lucky year makes them {number} times as many.",
        "Each one turns into {number} by magic.",
    ),
    "/": (
        "{name} splits them into {number} equal piles and keeps one pile.",
        "Of every {number} only one can be kept.",
        "{number} children share them equally, and {name} is one of the children.",
        "{name} packs them equally into {number} bags and keeps only one bag.",
    ),
}
_QUESTIONS = (
    "How many {things} does {name} have now?",
    "How many {things} does {name} have in the end?",
    "How many {things} are there now?",
)

OPERATIONS = tuple(_EVENTS)
_STARTING = (2, 40)
_ADDED, _MULTIPLIED = (1, 20), (2, 5)
LARGEST_RESULT = 99


class Step(NamedTuple):
    """How an event changes the number."""

    operation: str
    number: int


class Row(NamedTuple):
    """A problem as a row of GSM8K."""

    question: str
    answer: str

    @property
    def key(self) -> str:
        """Identity of the problem."""
        return self.question


class Problem(NamedTuple):
    """A problem with the calculation that its words describe."""

    row: Row
    start: int
    steps: tuple[Step, ...]

    @property
    def key(self) -> str:
        """Identity of the problem."""
        return self.row.key


class WordProblems(Generated):
    """Two-step word problems that a mini base can learn."""

    task: Literal["gsm8k"]
    """Task of the rows."""

    def draw(self, count: int, *, seed: int, exclude: Collection[Any] = ()) -> list[Row]:
        """Draw distinct rows."""
        return [problem.row for problem in generate(count, seed=seed, exclude=exclude)]


def generate(count: int, *, seed: int, exclude: Collection[str] = ()) -> list[Problem]:
    """Draw distinct problems, none of them among the questions `exclude`."""
    return distinct(_draw, count, seed=seed, exclude=exclude)


def apply(value: int, step: Step) -> int | None:
    """Value after a step; None where it is not in 1..`LARGEST_RESULT` or not whole."""
    match step.operation:
        case "+":
            result = value + step.number
        case "-":
            result = value - step.number
        case "*":
            result = value * step.number
        case _:
            result = value // step.number if value % step.number == 0 else 0
    return result if 0 < result <= LARGEST_RESULT else None


def words() -> list[str]:
    """Words of the questions, each with the space before it."""
    later = (*(text for texts in _EVENTS.values() for text in texts), *_QUESTIONS)
    return words_of([*_STARTS, *_NAMES, *(f" {text}" for text in (*later, *_NAMES, *_THINGS))])


def _draw(rng: random.Random) -> Problem:
    start = rng.randint(*_STARTING)
    value, steps, solution = start, [], []
    for _ in range(2):
        step, result = _step(value, rng)
        steps.append(step)
        solution.append(f"{value} {step.operation} {step.number} = {result}")
        value = result
    name, things = rng.choice(_NAMES), rng.choice(_THINGS)
    sentences = [rng.choice(_STARTS).format(name=name, things=things, number=start)]
    for step in steps:
        event = rng.choice(_EVENTS[step.operation])
        sentences.append(event.format(name=name, number=step.number))
    sentences.append(rng.choice(_QUESTIONS).format(name=name, things=things))
    answer = f"First there are {solution[0]} {things}.\nThen there are {solution[1]}.\n#### {value}"
    return Problem(Row(" ".join(sentences), answer), start, tuple(steps))


def _step(value: int, rng: random.Random) -> tuple[Step, int]:
    """A step that is possible at a value, and the value after it."""
    while True:
        # Operation and number are drawn again together: some values have no divisor.
        operation = rng.choice(OPERATIONS)
        step = Step(operation, rng.randint(*(_ADDED if operation in "+-" else _MULTIPLIED)))
        result = apply(value, step)
        if result is not None:
            return step, result
