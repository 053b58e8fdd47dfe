"""Muon in float32 does what torch's Muon does, and orthogonalises."""

import copy

import pytest
import torch

from r1zero.pretrain.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(16, 16), (24, 8), (8, 24)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, *shape, generator=generator)
    values = torch.linalg.svdvals(orthogonalised(matrices))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_steps_are_those_of_torch_up_to_bfloat16() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(32, width, bias=False) for width in (32, 32, 64)))
    other = copy.deepcopy(model)
    mine = Muon(model.parameters(), lr=0.02, weight_decay=0.01)
    theirs = torch.optim.Muon(other.parameters(), lr=0.02, weight_decay=0.01)
    for _ in range(4):
        for first, second in zip(model.parameters(), other.parameters(), strict=True):
            first.grad = torch.randn_like(first)
            second.grad = first.grad.clone()
        mine.step()
        theirs.step()
    for first, second in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=0.0, atol=0.01)
        assert (
            torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0) > 0.999
        )
