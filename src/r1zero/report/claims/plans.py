"""Recipes whose published plans decide a claim. The workflow reads them while it is parsed."""

FREQUENT_CHECKPOINTS = "mini_r1"
ONE_WORKER, TWO_WORKERS = "trl_gsm8k", "trl_gsm8k_2x4090"


def planned_recipes() -> tuple[str, ...]:
    """Recipes that the report reads even if no run of them is selected."""
    return ONE_WORKER, TWO_WORKERS, FREQUENT_CHECKPOINTS
