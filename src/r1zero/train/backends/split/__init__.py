"""The backend `split`: GRPO in plain PyTorch, to be read from top to bottom.

- `backend.py` says what it can run and how it is started; `config.py` is its `split.yaml`.
- `rollouts.py`: groups are drawn, scored, and drawn anew where their rewards have no variance.
- `loss.py`: log-probabilities of completions, and the formulas of `r1zero.train.formulas` on them.
- `scoring.py`: those of the reference model, in the trainer or on a server.
- `training.py`: the loop of rollouts, optimizer steps and checkpoints.
- `entrypoint.py` is the training process, which puts these together.

It trains on the CPU alone: it generates with `r1zero.sampling`, and neither with vLLM nor sharded.
"""

from r1zero.train.backends.split.backend import SplitBackend

BACKEND = SplitBackend()
"""How a run is laid out and started. Needs no torch."""
