"""The backend `swift`: the GRPO trainer of ms-swift 4.6, on the CPU.

`backend.py` says which recipes it takes and how they are started, and `rendering.py` writes
`swift.yaml`, the input of `swift rlhf`; neither needs ms-swift. `entrypoint.py` is the training
process, which runs in `.envs/swift`, and `plugin.py` gives ms-swift the prompts, reward functions,
sampler and records of this project.

What is different from the backend `trl`, in the source of ms-swift 4.6 (`grpo_trainer.py`):

- The KL estimate of a token is clamped to 10, which it reaches where the reference is 2.6 nats
  above the policy. Beyond, the token has no gradient of the penalty.
- A batch of rollouts is cut into passes in its own order; TRL shuffles it. A loss that depends on
  the cut (`bnpo`) is another sum where a step has several passes.
"""

from r1zero.train.backends.swift.backend import SwiftBackend

BACKEND = SwiftBackend()
