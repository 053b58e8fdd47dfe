"""Runs, and the paths of their files."""

from typing import Any, NamedTuple


class Run(NamedTuple):
    """One training: a recipe or a variant of one, at a scale, with a backend and a seed."""

    scale: str
    recipe: str
    backend: str
    seed: int

    @classmethod
    def of(cls, wildcards: Any) -> "Run":
        """The run that the wildcards of a rule name."""
        return cls(wildcards.scale, wildcards.recipe, wildcards.backend, int(wildcards.seed))

    @property
    def folder(self) -> str:
        """Folder of the run, below `results/` and below `checkpoints/`."""
        return f"{self.scale}/{self.recipe}/{self.backend}/seed{self.seed}"

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


def base_manifest(scale: str, name: str) -> str:
    """Manifest of a base model that is trained on this machine."""
    return f"resources/bases/{scale}/{name}/manifest.json"
