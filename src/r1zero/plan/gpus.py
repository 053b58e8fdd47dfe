"""GPUs by name: memory and rates from the makers' datasheets."""

import re
from typing import NamedTuple


class Gpu(NamedTuple):
    """One kind of GPU."""

    memory: float
    """Memory in 2^30 bytes."""
    tflops: float
    """Dense bf16 rate with float32 accumulation, in 10^12 operations per second."""
    bandwidth: float
    """Memory bandwidth in 10^9 bytes per second."""


# Without sparsity, SXM where there are several forms. Sources: the NVIDIA datasheets of each.
GPUS = {
    "3090": Gpu(24, 71, 936),
    "4090": Gpu(24, 165, 1008),
    "5090": Gpu(32, 209, 1792),
    "a10": Gpu(24, 125, 600),
    "a40": Gpu(48, 150, 696),
    "a6000": Gpu(48, 155, 768),
    "l40s": Gpu(48, 362, 864),
    "a100-40g": Gpu(40, 312, 1555),
    "a100-80g": Gpu(80, 312, 2039),
    "a800-80g": Gpu(80, 312, 2039),
    "h20": Gpu(96, 148, 4000),
    "h100-80g": Gpu(80, 989, 3350),
    "h800-80g": Gpu(80, 989, 3350),
    "h200": Gpu(141, 989, 4800),
}


def kind_of(name: str) -> Gpu | None:
    """The kind of a GPU by the name that its driver has for it, such as `NVIDIA A100-SXM4-80GB`."""
    words = re.split(r"[\s-]+", name.lower())
    for kind, gpu in GPUS.items():
        family, _, memory = kind.partition("-")
        has_memory = not memory or any(word.startswith(memory) for word in words)
        if family in words and has_memory and "laptop" not in words:
            return gpu
    return None
