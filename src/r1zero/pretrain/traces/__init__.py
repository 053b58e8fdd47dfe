"""What mini base models are pre-trained on: for each task, completions with choices at random.

A model that imitates traces knows the format and the arithmetic, and chooses badly. That is what
reinforcement learning is left to find.

Each module has `traces`, which writes them without end, and `literals`, the pieces of problems and
traces that are worth a token of their own.
"""

from typing import Any, NamedTuple

# Distinct problems behind the traces. Each comes back with other choices.
PROBLEMS = 20_000
# Another seed than any dataset's: a base should not have met the training problems either.
SEED = 7_000_000


class Trace(NamedTuple):
    """One way to go about a problem."""

    fields: dict[str, Any]
    """The problem, as the fields of its prompt."""
    thought: str
    answer: str
