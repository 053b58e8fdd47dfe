"""Train some steps on completions that are given, and write down what came of it.

Run by `test_invariance.py` in as many processes as it likes: `python fixed_completions.py RUNS`
with a list of the options of each run as JSON.
"""

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig

from r1zero.reference.client import ReferenceClient
from r1zero.reference.protocol import Identity
from r1zero.train.backends.trl.dynamic_sampling import DynamicSamplingTrainer

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
PROMPTS = ["1 2 3", "make 24 of 4 4 8", "ab", "a rather long question, much longer than the others"]
GROUP = 4


# The rewards of a problem that starts so are all equal.
FLAT = "flat"


def share_unless_flat(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    shares = share_of_even_tokens(completion_ids)
    return [
        0.5 if prompt.startswith(FLAT) else share
        for prompt, share in zip(prompts, shares, strict=True)
    ]


def share_of_even_tokens(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [sum(token % 2 == 0 for token in ids) / len(ids) for ids in completion_ids]


def client_of(address: str, base: str) -> ReferenceClient:
    """Asks a server for the reference model of a training."""
    types = {"dtype": "float32", "compute_dtype": "float32"}
    identity = Identity.of(Path(base), **types, temperature=1.0, backend="trl")
    return ReferenceClient(address, identity, patience=60)


def main(
    base: str,
    out: str,
    prompts: list[str],
    config: dict[str, Any],
    zero_variance_groups: str,
    reference: str | None = None,
) -> None:
    order: list[list[str]] = []
    history: list[list[float]] = []
    seconds: list[float] = []

    def given(own: list[str], trainer: DynamicSamplingTrainer) -> dict[str, Any]:
        """Completions that depend on the prompt, the place in its group and the step alone."""
        first = trainer.accelerator.process_index * len(own)
        completions = []
        for index, prompt in enumerate(own, first):
            rng = random.Random(f"{prompt} {index % GROUP} {trainer.state.global_step}")
            tokens = [rng.randrange(5, 60) for _ in range(rng.randint(1, 20))]
            completions.append([*tokens, trainer.processing_class.eos_token_id])
        order.append(own)
        ids = trainer.processing_class(own)["input_ids"]
        return {"prompt_ids": ids, "completion_ids": completions, "logprobs": None}

    class Record(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:
            if "grad_norm" in logs:
                history.append([float(logs[key]) for key in ("loss", "grad_norm", "reward", "kl")])
                seconds.append(float(logs["step_time"]))

    trainer = DynamicSamplingTrainer(
        model=base,
        processing_class=PreTrainedTokenizerFast.from_pretrained(base, padding_side="left"),
        reward_funcs=[share_unless_flat],
        args=GRPOConfig(**config),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        rollout_func=given,
        callbacks=[Record()],
        zero_variance_groups=zero_variance_groups,
        reference=client_of(reference, base) if reference else None,
    )
    trainer.train()
    everybody = [None] * trainer.accelerator.num_processes
    if trainer.accelerator.num_processes > 1:
        torch.distributed.all_gather_object(everybody, order)
    else:
        everybody = [order]
    trainer.save_model(out)
    if trainer.accelerator.is_main_process:
        asked = [[p for part in step for p in part] for step in zip(*everybody, strict=True)]
        # In kilobytes. `ru_maxrss` would count the process that started this one.
        status = Path("/proc/self/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0])
        content = {"asked": asked, "history": history, "seconds": seconds, "peak": peak}
        (Path(out) / "record.json").write_text(json.dumps(content))


if __name__ == "__main__":
    for options in json.loads(sys.argv[-1]):
        main(**options)
