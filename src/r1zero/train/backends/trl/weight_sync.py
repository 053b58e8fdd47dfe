"""TRL's GRPOTrainer with a check that the generator has the trainer's weights.

After a step the weights are sent to vLLM. If they do not arrive, training goes on with rollouts of
an old model, and no error says so. The generator is therefore asked for the log-probabilities of
fixed prompts, which need no sampling, and they are held against the trainer's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor

from r1zero.core.errors import UserError
from r1zero.train.backends.trl.sampling_difference import SamplingDifferenceTrainer

METRIC = "sampling/weight_sync_difference"
"""Mean absolute difference of log-probabilities, in nats per token."""
TOLERANCE_METRIC = "sampling/weight_sync_tolerance"
# In bfloat16 the two differ by some thousandths; with other weights by several nats.
TOLERANCE = 0.2
# The first rollouts are all checked, later ones every so many steps.
_FIRST, _EVERY = 3, 10
# Prompts of a check, and tokens of each.
_PROMPTS, _TOKENS = 4, 64

Logps = list[list[float]]
"""For each prompt the log-probability of every token after its first."""


class WeightSyncTrainer(SamplingDifferenceTrainer):
    """Trainer that stops when vLLM generates with other weights than it has.

    It checks the first three batches of rollouts and then those of every tenth step, whichever
    process the generator is in. Two things stop it: log-probabilities that differ by more than the
    tolerance, and those of a generator that have not changed at all since the last check though the
    trainer's have, which tells at small learning rates too.

    `r1zero.train.backends.trl` lists the members of TRL that are overridden. The arguments are
    those of `SamplingDifferenceTrainer`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._checks, self._checked_step = 0, -1
        self._asked: Logps | None = None
        # What the generator and the trainer said at the last check.
        self._last: tuple[Logps, list[Tensor]] | None = None
        if not self.use_vllm:
            return
        prompts = self.train_dataset[:_PROMPTS]["prompt"]
        self._probes: list[list[int]] = [
            ids[:_TOKENS] for ids in self.processing_class(text=prompts)["input_ids"]
        ]
        # The weights are there, and the engine is awake, while it generates.
        if self.vllm_mode == "colocate":
            engine = self.vllm_generation.llm
            of_engine = engine.generate
            engine.generate = self._asking(of_engine, lambda: _of_engine(of_engine, self._probes))
        elif self.accelerator.is_main_process:
            client = self.vllm_generation.vllm_client
            of_client = client.generate
            client.generate = self._asking(of_client, lambda: _of_server(client, self._probes))

    def _asking(self, generate: Callable[..., Any], ask: Callable[[], Logps]) -> Callable[..., Any]:
        """`generate` that asks for the generator's log-probabilities first, if they are due."""

        def asking(*args: Any, **kwargs: Any) -> Any:
            if self._is_due():
                self._asked = ask()
            return generate(*args, **kwargs)

        return asking

    def _is_due(self) -> bool:
        since = self.state.global_step - self._checked_step
        return bool(since >= (1 if self._checks < _FIRST else _EVERY))

    def _generate(self, prompts: list[Any]) -> Any:
        due = self.use_vllm and self._is_due()
        result = super()._generate(prompts)
        if due:
            self._compare()
            self._checks, self._checked_step = self._checks + 1, self.state.global_step
        return result

    def _compare(self) -> None:
        """Hold the generator's log-probabilities against the trainer's; all processes take part."""
        shared = [self._asked]
        if self.vllm_mode == "server":
            broadcast_object_list(shared, from_process=0)
        theirs = shared[0]
        assert theirs is not None
        own = self._own_logps()
        differences = torch.cat(
            [(torch.tensor(one) - other).abs() for one, other in zip(theirs, own, strict=True)]
        )
        mean = differences.mean().to(self.accelerator.device)
        moved = self._last is not None and not all(map(torch.equal, own, self._last[1]))
        is_old = self._last is not None and moved and theirs == self._last[0]
        self._last = theirs, own
        signs = torch.stack([mean, torch.tensor(float(is_old), device=mean.device)])
        worst, old = self.accelerator.gather(signs[None]).max(0).values.tolist()
        self._metrics["train"][METRIC].append(worst)
        self._metrics["train"][TOLERANCE_METRIC].append(TOLERANCE)
        if worst <= TOLERANCE and not old:
            return
        problem = (
            f"differ by {worst:.3f} nats per token, {TOLERANCE:g} are allowed"
            if not worst <= TOLERANCE
            else "have not changed since the last check, those of the trainer have"
        )
        raise UserError(
            "vLLM does not have the trainer's weights: its log-probabilities of fixed prompts "
            + problem,
            where=f"step {self.state.global_step}",
            hint="the weights were not sent, or arrived under other names; versions of TRL and "
            "vLLM other than those of the lock may not fit together",
        )

    @torch.no_grad()
    def _own_logps(self) -> list[Tensor]:
        """Log-probabilities of the trainer, on the CPU: those of `Logps`, a tensor a prompt."""
        device = self.accelerator.device
        found = []
        for probe in self._probes:
            ids = torch.tensor([probe], device=device)
            logits = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            logps = logits[0, :-1].float().log_softmax(-1)
            found.append(logps.gather(-1, ids[0, 1:, None])[:, 0].cpu())
        return found


def _of_engine(generate: Callable[..., Any], probes: Sequence[Sequence[int]]) -> Logps:
    """Log-probabilities of vLLM's engine in this process."""
    from vllm import SamplingParams

    asked = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
    answers = generate(
        [{"prompt_token_ids": list(probe)} for probe in probes],
        sampling_params=asked,
        use_tqdm=False,
    )
    return [
        [
            position[token].logprob
            for token, position in zip(probe[1:], answer.prompt_logprobs[1:], strict=True)
        ]
        for probe, answer in zip(probes, answers, strict=True)
    ]


def _of_server(client: Any, probes: Sequence[Sequence[int]]) -> Logps:
    """Log-probabilities of the vLLM server of TRL's client."""
    answer = client._post(
        f"{client.base_url}/v1/completions",
        json={
            "model": client.model,
            "prompt": [list(probe) for probe in probes],
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": 0,
        },
    )
    choices = sorted(answer["choices"], key=lambda choice: choice["index"])
    return [
        [
            position[str(token)]["logprob"]
            for token, position in zip(probe[1:], choice["prompt_logprobs"][1:], strict=True)
        ]
        for probe, choice in zip(probes, choices, strict=True)
    ]
