"""Muon in float32, for pre-training on any CPU.

`torch.optim.Muon` orthogonalises in bfloat16. A CPU without AVX512 has no fast bfloat16 products:
there one matrix product takes about thirty times as long as in float32, and a base model that takes
minutes elsewhere would take hours.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# Coefficients of the quintic Newton-Schulz iteration, and its steps (Jordan et al. 2024,
# https://kellerjordan.github.io/posts/muon).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
_EPSILON = 1e-7


class Muon(Optimizer):
    """SGD with Nesterov momentum whose update of each matrix is orthogonalised.

    As `torch.optim.Muon` with its default learning-rate adjustment, but in float32.

    Args:
        params: Matrices.
        lr: Learning rate, multiplied by `sqrt(max(1, rows / columns))`.
        weight_decay: Decoupled weight decay.
        momentum: Decay rate of the moving average of gradients.
        apply: As the built-in `map`, perhaps in several threads. Matrices of one shape are one
            call.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        apply: Callable[..., Iterable[Tensor]] = map,
    ) -> None:
        self._apply = apply
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient; matrices of one shape go together."""
        assert closure is None
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape[matrix.shape].append(matrix)
            stacks = [torch.stack([self._update(m, group) for m in ms]) for ms in by_shape.values()]
            found = self._apply(orthogonalised, stacks)
            for ((rows, columns), matrices), updates in zip(by_shape.items(), found, strict=True):
                rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                for matrix, update in zip(matrices, updates, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    matrix.add_(update, alpha=-rate)

    def _update(self, matrix: Tensor, group: dict[str, Any]) -> Tensor:
        assert matrix.grad is not None
        state = self.state[matrix]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix)
        average: Tensor = state["momentum"].lerp_(matrix.grad, 1 - group["momentum"])
        return matrix.grad.lerp(average, group["momentum"])


@torch.no_grad()  # of each thread
def orthogonalised(matrices: Tensor) -> Tensor:
    """Nearly orthogonal matrices `[n, rows, columns]` with the singular vectors of `matrices`.

    Their singular values lie near 1 (about 0.7 to 1.2), by five Newton-Schulz iterations.
    """
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPSILON)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x if wide else x.mT
