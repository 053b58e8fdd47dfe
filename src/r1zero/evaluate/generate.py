"""Complete all prompts chunk by chunk, and save each finished chunk."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from r1zero.evaluate.chunks import Chunks, Drawn
from r1zero.evaluate.engines.base import Decoding, Engine


class Generated(NamedTuple):
    """Completions, and the cost of their generation."""

    sampled: Drawn
    """`n_samples` completions of each prompt."""
    greedy: Drawn | None
    """One completion of each prompt; None if none were asked for."""
    tokens: int
    """Tokens that were generated."""
    seconds: float
    """Seconds of generation over all attempts, without loading the model."""

    @property
    def tokens_per_second(self) -> float:
        """Speed of the generation."""
        return self.tokens / max(self.seconds, 1e-9)


def generate(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    greedy: bool,
    seed: int,
    finished: Chunks,
) -> Generated:
    """Sample completions of each prompt, and a greedy completion if asked for.

    Chunks are seeded by their number, so it does not matter which of them were finished before.

    Args:
        engine: Engine that generates.
        prompts: Token ids.
        decoding: How completions are sampled. At temperature 0 a single completion is generated and
            used as every sample and as the greedy completion.
        greedy: Whether to generate a greedy completion.
        seed: Seed of the evaluation.
        finished: Finished chunks, to which new chunks are added.

    """
    if decoding.temperature == 0:
        once, seconds = _chunks(engine, prompts, decoding.greedy, "greedy", seed, finished)
        sampled = [completion * decoding.n_samples for completion in once]
        return Generated(sampled, once if greedy else None, _tokens(once), seconds)
    sampled, seconds = _chunks(engine, prompts, decoding, "sampled", seed, finished)
    if not greedy:
        return Generated(sampled, None, _tokens(sampled), seconds)
    once, more = _chunks(engine, prompts, decoding.greedy, "greedy", seed, finished)
    return Generated(sampled, once, _tokens(sampled) + _tokens(once), seconds + more)


def _tokens(drawn: Drawn) -> int:
    return sum(len(completion) for prompt in drawn for completion in prompt)


def _chunks(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    way: str,
    seed: int,
    finished: Chunks,
) -> tuple[Drawn, float]:
    """Completions of all prompts for one decoding, and the seconds that they took."""
    size = max(1, engine.batch // decoding.n_samples)
    drawn: Drawn = []
    total = 0.0
    for number, start in enumerate(range(0, len(prompts), size)):
        name = f"{way}-{number:05d}"
        known = finished.read(name)
        if known is None:
            own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            engine.load()
            started = time.monotonic()
            chunk = engine.generate(prompts[start : start + size], decoding, own)
            known = chunk, time.monotonic() - started
            finished.write(name, *known)
        drawn += known[0]
        total += known[1]
    return drawn, total
