"""Runs, and the paths of their files."""

from typing import Any, NamedTuple


class Run(NamedTuple):
    """One training: a recipe or a variant of one, at a scale, with a backend and a seed."""

    scale: str
    recipe: str
    backend: str
    seed: int
    base_seed: int = 0
    """Added to the seed of a base that the scale makes."""

    @classmethod
    def of(cls, wildcards: Any) -> "Run":
        """The run that the wildcards of a rule name; the seed is `0`, or `0_base1` on a base."""
        seed, _, base = wildcards.seed.partition("_base")
        return cls(wildcards.scale, wildcards.recipe, wildcards.backend, int(seed), int(base or 0))

    @property
    def folder(self) -> str:
        """Folder of the run, below `results/` and below `checkpoints/`."""
        base = f"_base{self.base_seed}" if self.base_seed else ""
        return f"{self.scale}/{self.recipe}/{self.backend}/seed{self.seed}{base}"

    def result(self, name: str) -> str:
        """Path of one of its results."""
        return f"results/{self.folder}/{name}"


def dataset_manifest(name: str) -> str:
    """Manifest of a dataset as it was fetched, drawn or copied."""
    return f"resources/datasets/{name}/manifest.json"


def rows_manifest(dataset: str) -> str:
    """Manifest of the rows of a dataset in the schema of its task."""
    return f"resources/rows/{dataset}/manifest.json"


def problems_manifest(dataset: str, prompt: str) -> str:
    """Manifest of the rows of a dataset with their prompts."""
    return f"resources/problems/{dataset}/{prompt}/manifest.json"


def model_manifest(name: str) -> str:
    """Manifest of a published model or one of the user's."""
    return f"resources/models/{name}/manifest.json"


def base_manifest(scale: str, name: str, seed: int = 0) -> str:
    """Manifest of a base model that is trained on this machine; `seed` is added to its own."""
    folder = f"{name}.seed{seed}" if seed else name
    return f"resources/bases/{scale}/{folder}/manifest.json"
