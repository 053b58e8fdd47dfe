"""`split.yaml`: everything that decides the weights of a run of this backend."""

from r1zero.core.section import Section
from r1zero.plan.layout import Layout
from r1zero.settings.recipe import Algorithm, Sizes
from r1zero.settings.run import RunSettings


class SplitConfig(Section):
    """Settings of the training process."""

    model: str
    """Folder of the model that training starts from, which is the reference model too."""
    problems: str
    """Parquet file of the training problems."""
    output: str
    """Folder for checkpoints and records."""
    algorithm: Algorithm
    sizes: Sizes
    seed: int
    threads: int
    """Threads of each process."""
    micro_batch: int
    """Most completions in one forward and backward pass."""
    gen_update_steps: int
    """Optimizer steps between two hand-overs of the weights to the rollout worker. They share the
    completions of one draw, so that none is more than `gen_update_steps` - 1 steps off-policy."""
    adam_epsilon: float = 1e-8

    @classmethod
    def of(
        cls, run: RunSettings, layout: Layout, *, model: str, problems: str, output: str
    ) -> "SplitConfig":
        """The settings of a run in its layout."""
        return cls(
            model=model,
            problems=problems,
            output=output,
            algorithm=run.algorithm,
            sizes=run.sizes,
            seed=run.seed,
            threads=run.computation.train.threads,
            micro_batch=layout.micro_batch,
            gen_update_steps=run.algorithm.updates_per_rollout * run.algorithm.num_iterations,
        )
