"""TRL's GRPOTrainer with the reference model of the KL penalty on a server of its own."""

from concurrent.futures import Future
from typing import Any, NamedTuple

import torch
from torch import Tensor
from trl.trainer.utils import pad

from r1zero.reference.client import ReferenceClient
from r1zero.train.backends.trl.length_bucketing import LengthBucketingTrainer


class _Request(NamedTuple):
    """A request that the server works on."""

    input_ids: Tensor
    """`[n, L]`, on the CPU."""
    mask: Tensor
    """`[n, L]`, on the CPU."""
    answer: "Future[Tensor]"


class RemoteReferenceTrainer(LengthBucketingTrainer):
    """Trainer that can ask a server for the log-probabilities of the reference model.

    It then has no reference model itself, and asks as soon as the completions are there, so that
    the server computes while rewards and the log-probabilities of the policy are. Each process asks
    for its own rows.

    `r1zero.train.backends.trl` lists the members of TRL that are overridden.

    Args:
        reference: The client; None for a reference model in the trainer.

    The other arguments are those of GRPOTrainer.
    """

    def __init__(self, *args: Any, reference: ReferenceClient | None = None, **kwargs: Any) -> None:
        self._remote = reference
        self._awaited: _Request | None = None
        config = kwargs["args"]
        beta = config.beta
        # TRL loads a reference model, and prepares it for several processes, unless `beta` is 0
        # while the trainer is made.
        if reference:
            config.beta = 0.0
        try:
            super().__init__(*args, **kwargs)
        finally:
            config.beta = beta
        if reference:
            self.beta, self.ref_model = beta, reference

    def _generate(self, prompts: list[Any]) -> Any:
        result = super()._generate(prompts)
        if self._remote and self.model.training:
            self._ask(*result[:2])
        return result

    def _ask(self, prompt_ids: list[list[int]], completion_ids: list[list[int]]) -> None:
        """Ask for the rows of a draw, padded and masked as TRL does afterwards."""
        assert self._remote
        ended = {*self.eos_token_ids, self.processing_class.pad_token_id}
        masked = [
            self.mask_truncated_completions and ids[-1] not in ended for ids in completion_ids
        ]
        prompts = [torch.tensor(ids) for ids in prompt_ids]
        completions = [torch.tensor(ids) for ids in completion_ids]
        ones = [torch.ones_like(ids) for ids in prompts]
        kept = [
            torch.full_like(ids, int(not gone))
            for ids, gone in zip(completions, masked, strict=True)
        ]
        filler = self.processing_class.pad_token_id
        ids = self._padded(prompts, completions, filler)
        mask = self._padded(ones, kept, 0)
        longest = max(map(len, completions))
        answer = self._remote.ask(ids, mask, longest, self.args.per_device_train_batch_size)
        self._awaited = _Request(ids, mask, answer)

    def _padded(self, prompts: list[Tensor], completions: list[Tensor], filler: int) -> Tensor:
        sides = ((prompts, "left"), (completions, "right"))
        return torch.cat(
            [pad(rows, padding_value=filler, padding_side=side) for rows, side in sides], dim=1
        )

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        if self._remote is None or model is not self._remote:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size, **kwargs
            )
        ids, mask = input_ids.cpu(), attention_mask.cpu()
        awaited, self._awaited = self._awaited, None
        if awaited and torch.equal(awaited.input_ids, ids) and torch.equal(awaited.mask, mask):
            answer = awaited.answer
        else:
            answer = self._remote.ask(ids, mask, logits_to_keep, batch_size or len(ids))
        return answer.result().to(input_ids.device), None, None
