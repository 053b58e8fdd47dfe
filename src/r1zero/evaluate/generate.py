"""Complete all prompts chunk by chunk, and save each finished chunk."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    """Seconds of generation over all attempts, without loading the model; the sum of those of
    several processes."""

    @property
    def tokens_per_second(self) -> float:
        """Speed of the generation, of one process."""
        return self.tokens / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Work:
    """What an evaluation generates. It is divided into chunks of whole prompts.

    Chunks are seeded by their number, so it does not matter which of them were finished before, or
    which process generates one.
    """

    prompts: Sequence[Sequence[int]]
    """Token ids."""
    decoding: Decoding
    """How completions are sampled. At temperature 0 a single completion is generated and used as
    every sample and as the greedy completion."""
    greedy: bool
    """Whether to generate a greedy completion."""
    seed: int
    """Seed of the evaluation."""
    batch: int
    """Completions of a chunk."""

    def chunks(self) -> Iterator["Chunk"]:
        """All chunks."""
        if self.decoding.temperature > 0:
            yield from self._chunks("sampled", self.decoding)
        if self.greedy or self.decoding.temperature == 0:
            yield from self._chunks("greedy", self.decoding.greedy)

    def _chunks(self, way: str, decoding: Decoding) -> Iterator["Chunk"]:
        size = max(1, self.batch // decoding.n_samples)
        for number, start in enumerate(range(0, len(self.prompts), size)):
            own = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
            prompts = self.prompts[start : start + size]
            yield Chunk(f"{way}-{number:05d}", way, prompts, decoding, own)


class Chunk(NamedTuple):
    """Prompts that are completed together."""

    name: str
    way: str
    """`sampled` or `greedy`."""
    prompts: Sequence[Sequence[int]]
    decoding: Decoding
    seed: int

    def draw(self, engine: Engine, finished: Chunks) -> tuple[Drawn, float]:
        """Completions and the seconds that they took; a finished chunk is read."""
        known = finished.read(self.name)
        if known is None:
            engine.load()
            started = time.monotonic()
            drawn = engine.generate(self.prompts, self.decoding, self.seed)
            known = drawn, time.monotonic() - started
            finished.write(self.name, *known)
        return known


def generate(engine: Engine, work: Work, finished: Chunks) -> Generated:
    """Sample completions of each prompt, and a greedy completion if asked for.

    Args:
        engine: Engine that generates what is not finished.
        work: What to generate.
        finished: Finished chunks, to which new chunks are added.

    """
    drawn: dict[str, Drawn] = {"sampled": [], "greedy": []}
    seconds = 0.0
    for chunk in work.chunks():
        completions, took = chunk.draw(engine, finished)
        drawn[chunk.way] += completions
        seconds += took
    tokens = sum(
        len(completion) for way in drawn.values() for prompt in way for completion in prompt
    )
    sampled, greedy = drawn["sampled"], drawn["greedy"]
    if work.decoding.temperature == 0:
        sampled = [completion * work.decoding.n_samples for completion in greedy]
    return Generated(sampled, greedy if work.greedy else None, tokens, seconds)
