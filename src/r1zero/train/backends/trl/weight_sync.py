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
from r1zero.train.backends.trl.rollout_recording import RolloutRecordingTrainer

METRIC = "sampling/weight_sync_difference"
"""Mean absolute difference of log-probabilities, in nats per token."""
# In bfloat16 the two differ by some thousandths; with other weights by several nats.
TOLERANCE = 0.2
# Steps between two checks, the prompts of each, and the tokens of a prompt that are compared.
EVERY = 10
_PROMPTS, _TOKENS = 4, 64

Logps = list[list[float]]
"""For each prompt the log-probability of every token after its first."""


class WeightSyncTrainer(RolloutRecordingTrainer):
    """Trainer that stops when vLLM generates with other weights than it has.

    It checks the first batch of rollouts and those of every tenth step, whichever process the
    generator is in. `r1zero.train.backends.trl` lists the members of TRL that are overridden. The
    arguments are those of `RolloutRecordingTrainer`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._checked_step: int | None = None
        self._generators_logps: Logps | None = None
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
                self._generators_logps = ask()
            return generate(*args, **kwargs)

        return asking

    def _is_due(self) -> bool:
        step, checked = self.state.global_step, self._checked_step
        return checked is None or (step != checked and step % EVERY == 0)

    def _generate(self, prompts: list[Any]) -> Any:
        due = self.use_vllm and self._is_due()
        result = super()._generate(prompts)
        if due:
            self._compare()
            self._checked_step = self.state.global_step
        return result

    def _compare(self) -> None:
        """Hold the generator's log-probabilities against the trainer's; all processes take part."""
        shared = [self._generators_logps]
        if self.vllm_mode == "server":
            broadcast_object_list(shared, from_process=0)
        theirs = shared[0]
        assert theirs is not None
        own = self._own_logps()
        differences = torch.cat(
            [(torch.tensor(one) - other).abs() for one, other in zip(theirs, own, strict=True)]
        )
        mean = differences.mean().to(self.accelerator.device)
        worst: float = self.accelerator.gather(mean.reshape(1)).max().item()
        self._metrics["train"][METRIC].append(worst)
        if not worst <= TOLERANCE:
            raise UserError(
                f"vLLM does not have the trainer's weights: the log-probabilities of fixed prompts "
                f"differ by {worst:.3f} nats per token, {TOLERANCE:g} are allowed",
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
