"""The vLLM engine that TRL makes in the process of a trainer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def planned_engine(settings: Mapping[str, Any]) -> Iterator[None]:
    """Have TRL make its engine with more settings while the block runs.

    TRL 1.16 takes the number of sequences from the batch, and numbers the engines from seed 0. An
    engine that works on all completions of a large batch at once has no memory left for its cache,
    or is refused by vLLM, and every run would sample with the same random numbers.

    Args:
        settings: `max_num_seqs`, `max_num_batched_tokens`, and `seed`, that of the run; none where
            the trainer makes no engine.

    """
    if not settings:
        yield
        return
    from trl.generation import vllm_generation

    original = vllm_generation.LLM

    def planned(*args: Any, seed: int, **options: Any) -> Any:
        # TRL numbers the groups of processes that share an engine.
        (own,) = np.random.SeedSequence([settings["seed"], seed]).generate_state(1)
        return original(*args, **{**options, **settings, "seed": int(own >> 1)})

    vllm_generation.LLM = planned
    try:
        yield
    finally:
        vllm_generation.LLM = original
