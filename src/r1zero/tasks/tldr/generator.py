"""Draw short posts and one-line summaries with the columns of trl-lib/tldr."""

import random
from collections.abc import Collection
from string import Formatter
from typing import Any, Literal, NamedTuple

from r1zero.tasks.generators import Generated, distinct, words_of

_SUBREDDITS = ("relationships", "AskReddit", "tifu", "college", "work", "pets", "travel", "advice")
_WHO = (
    *("my boss", "my sister", "my brother", "my friend", "my neighbour", "my roommate"),
    *("my cousin", "my teacher", "a stranger", "my uncle"),
)
_DID = (
    *("ate my lunch", "sold my bike", "lost my keys", "broke my phone", "read my diary"),
    *("moved in with me", "borrowed my car", "forgot my birthday", "painted my door"),
    *("lied to me", "took my chair", "stole my umbrella", "hid my shoes", "cut my hair"),
)
_WHERE = ("at work", "at school", "in the park", "on the bus", "at a party", "at home", "in Rome")
_WHEN = ("today", "last night", "on Monday", "last week", "in May", "a year ago", "at noon")
_FEELING = ("sad", "angry", "confused", "happy", "tired", "amazed")
_ASKING = ("Should I say something?", "What should I do?", "Am I wrong?", "Is this normal?")
_FILLERS = (
    "This is a long story, so bear with me.",
    "I have never written here before.",
    "Please be kind.",
    "Sorry for my English.",
)
_POST = (
    "SUBREDDIT: r/{subreddit}\n\nTITLE: {title} {did}\n\nPOST: {filler} It happened {when} {where}."
    " There I saw that {who} {did}. Now I am {feeling}. {asking}\n\nTL;DR:"
)


class Row(NamedTuple):
    """A post as a row of trl-lib/tldr: the text before the summary, and the summary."""

    prompt: str
    completion: str

    @property
    def key(self) -> str:
        """Identity of the post."""
        return self.prompt


class Problem(NamedTuple):
    """A post and its facts, in the order of a summary: who, did, where, when, feeling."""

    row: Row
    facts: tuple[str, ...]

    @property
    def key(self) -> str:
        """Identity of the post."""
        return self.row.key


class Posts(Generated):
    """Short posts that a mini base can learn."""

    task: Literal["tldr"]
    """Task of the rows."""

    def draw(self, count: int, *, seed: int, exclude: Collection[Any] = ()) -> list[Row]:
        """Draw distinct rows."""
        return [problem.row for problem in generate(count, seed=seed, exclude=exclude)]


def generate(count: int, *, seed: int, exclude: Collection[str] = ()) -> list[Problem]:
    """Draw distinct posts, none of them among the prompts `exclude`."""
    return distinct(_draw, count, seed=seed, exclude=exclude)


def words() -> list[str]:
    """Words of posts and summaries, each with the space before it, and the text of every post."""
    facts = (*_WHO, *_DID, *_WHERE, *_WHEN, *_FEELING, "and I am", *_ASKING, *_FILLERS)
    titles = [who.capitalize() for who in _WHO]
    constant = [text.rstrip(" ") for text, *_ in Formatter().parse(_POST) if text.strip(" ")]
    return [*constant, *words_of([*_SUBREDDITS, *(f" {text}" for text in (*facts, *titles))])]


def _draw(rng: random.Random) -> Problem:
    who, did, where, when, feeling = map(rng.choice, (_WHO, _DID, _WHERE, _WHEN, _FEELING))
    prompt = _POST.format(
        subreddit=rng.choice(_SUBREDDITS),
        title=who.capitalize(),
        filler=rng.choice(_FILLERS),
        asking=rng.choice(_ASKING),
        **{"who": who, "did": did, "where": where, "when": when, "feeling": feeling},
    )
    facts = (who, did, where, when, f"and I am {feeling}")
    # The published summaries begin with the space that separates them from the prompt.
    return Problem(Row(prompt, f" {' '.join(facts)}"), facts)
