"""Batches that every backend's loss is held against: tokens, masks, rewards, log-probabilities.

They are numbers from a seed and need only numpy, so that a test in another environment makes the
same ones: `python fixed_batches.py OUT.safetensors` writes one.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

GROUP = 4
MAX_LENGTH = 24
# Tenfold differences and ties; the completions of the greatest length are the truncated ones.
PROMPT_LENGTHS = [3, 9, 1, 5]
COMPLETION_LENGTHS = [24, 3, 1, 17, 2, 4, 4, 24, 9, 9, 6, 12, 24, 5, 20, 8]
# The third group has no variance.
REWARDS = [1.0, 0, 0, 2, 0, 1, 0, 0, 1, 1, 1, 1, 0, 2, 1, 0]


def fixed_batch(seed: int = 0) -> dict[str, np.ndarray]:
    """Four groups of four completions, padded as TRL pads: prompts left, completions right.

    Returns:
        `prompt_ids`, `prompt_mask`, `completion_ids`, `completion_mask` (int64); `rewards [n]`;
        `old_logps` and `reference_logps`, `[n, T]`, float32.

    """
    rng = np.random.default_rng(seed)
    prompts = np.repeat(PROMPT_LENGTHS, GROUP)
    lengths = np.array(COMPLETION_LENGTHS)
    left = np.arange(prompts.max(), 0, -1) <= prompts[:, None]
    right = np.arange(lengths.max()) < lengths[:, None]
    shape = right.shape
    return {
        "prompt_ids": np.where(left, rng.integers(5, 250, left.shape), 0),
        "prompt_mask": left.astype(np.int64),
        "completion_ids": np.where(right, rng.integers(5, 250, shape), 0),
        "completion_mask": right.astype(np.int64),
        "rewards": np.array(REWARDS, dtype=np.float32),
        "old_logps": (-5.5 + 0.4 * rng.standard_normal(shape)).astype(np.float32),
        "reference_logps": (-5.0 + rng.standard_normal(shape)).astype(np.float32),
    }


if __name__ == "__main__":
    save_file(fixed_batch(), Path(sys.argv[1]))
