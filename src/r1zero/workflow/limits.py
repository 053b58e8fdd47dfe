"""What the partitions of a cluster allow a job, and requests cut down to that."""

import math
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from r1zero.core.validation import read_yaml, validate

Resource = Literal["mem_mb", "runtime"]


class _Partition(BaseModel):
    """The limits that are compared here; the executor plugin reads others from the same file."""

    model_config = ConfigDict(extra="allow")
    max_runtime: float = Field(default=math.inf, gt=0)
    """Minutes."""
    max_mem_mb: float = Field(default=math.inf, gt=0)
    max_gpu: int = Field(default=0, ge=0)


class _Partitions(BaseModel):
    partitions: dict[str, _Partition] = Field(min_length=1)


class Limits:
    """The largest requests that some partition takes.

    Args:
        path: The partition file of a profile; None where there is no cluster, and no limit.

    Raises:
        UserError: The file is missing or invalid.

    """

    def __init__(self, path: Path | None) -> None:
        self._partitions: list[_Partition] = []
        if path is not None:
            found = validate(read_yaml(path), _Partitions, str(path))
            self._partitions = list(found.partitions.values())
        self._told: set[tuple[str, int, int]] = set()

    def cut(self, resource: Resource, wanted: int, *, gpus: int) -> int:
        """The request, or the most that a partition with enough GPUs allows, with a warning.

        Args:
            resource: What is requested.
            wanted: How much: 10^6 bytes, or minutes.
            gpus: GPUs of the same job.

        """
        fitting = [each for each in self._partitions if each.max_gpu >= gpus]
        # Without a partition that has the GPUs, sbatch says what is wrong.
        most = max((getattr(each, f"max_{resource}") for each in fitting), default=math.inf)
        if wanted <= most:
            return wanted
        if (resource, wanted, gpus) not in self._told:
            self._told.add((resource, wanted, gpus))
            print(
                f"warning: {resource}={wanted} is over the limit of every partition "
                f"with {gpus} GPUs; {most:g} is requested",
                file=sys.stderr,
            )
        return int(most)
