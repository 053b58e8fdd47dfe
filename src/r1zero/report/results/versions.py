"""Packages whose versions must agree between the files of one report."""

# What measures: the graders and the engine, the same for the runs of every backend. The version of
# vLLM is part of the name of the engine that an evaluation states.
MEASURING = ("r1zero", "torch", "transformers", "math-verify", "latex2sympy2-extended")

# What trains, by backend. The registry of backends takes this over.
_TRAINING = {
    "trl": ("trl", "torch", "transformers"),
    "swift": ("ms-swift", "trl", "torch", "transformers"),
    "split": ("torch", "transformers"),
}


def packages_that_must_agree(backend: str) -> tuple[str, ...]:
    """Packages whose defaults and loss decide what a backend computes.

    Runs of one backend share a table only if they were trained with the same versions of these.
    Runs of different backends may differ in all of them: they never share a group of rows.
    """
    return _TRAINING.get(backend, ("torch", "transformers"))
