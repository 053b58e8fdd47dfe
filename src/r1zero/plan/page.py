"""The plan as a page that a person reads."""

from r1zero.plan.layout import Layout
from r1zero.settings.run import RunSettings


def render_page(run: RunSettings, layout: Layout) -> str:
    """Markdown page: what runs where, and the batch arithmetic."""
    where = f"{layout.gpus} GPU" if layout.gpus else "the CPU"
    rewards = ", ".join(f"{reward.name} x {reward.weight:g}" for reward in run.rewards)
    sizes, algorithm = run.sizes, run.algorithm
    facts = [
        ("trains on", f"{where}, {layout.num_processes} process, {layout.dtype}"),
        ("generates with", "vLLM" if layout.placement == "colocate" else "transformers"),
        ("model", run.model),
        ("data", f"{run.dataset}, prompt {run.prompt}"),
        ("rewards", rewards),
        (
            "loss",
            f"{algorithm.loss_type}, beta {algorithm.beta:g}, rewards scaled by "
            f"{algorithm.scale_rewards}",
        ),
        (
            "steps",
            f"{sizes.max_steps}, a checkpoint every {sizes.save_steps}: "
            f"{len(run.evaluated_steps)} evaluations with step 0",
        ),
        (
            "learning rate",
            f"{sizes.learning_rate:g}, {algorithm.lr_scheduler_type}, warm-up "
            f"{algorithm.warmup_ratio:.0%}",
        ),
        (
            "lengths",
            f"prompt {sizes.max_prompt_length}, completion {sizes.max_completion_length} tokens",
        ),
    ]
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts)
    reasons = "\n".join(f"- {reason}" for reason in layout.reasons)
    return (
        f"# Plan: {run.recipe} on {run.backend}, seed {run.seed}, scale {run.scale}\n\n"
        f"| | |\n|---|---|\n{rows}\n\n## Batch\n\n{reasons}\n"
    )
