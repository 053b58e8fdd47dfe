"""Build the files that the train and evaluate stages would leave, with made-up outcomes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

VERSIONS = {"r1zero": "0.1.0", "trl": "1.16.0", "torch": "2.13.0", "transformers": "5.17.0"}
STEPS = (0, 20, 40)


class RunFiles:
    """The files of one run. `model` and `evaluations[suite, step]` are paths of JSON files."""

    def __init__(
        self, folder: Path, recipe: str = "datawhale_r1", seed: int = 0, **run: str
    ) -> None:
        self.folder = folder / f"{recipe}-{run.get('backend', 'trl')}-{seed}"
        self.folder.mkdir(parents=True)
        self.run: dict[str, Any] = {
            "recipe": recipe,
            "backend": "trl",
            "seed": seed,
            "scale": "mini",
            "task": "countdown",
            **run,
        }
        self.model = self.folder / "model.json"
        self.evaluations: dict[tuple[str, int], Path] = {}

    def train(
        self,
        steps: Sequence[int] = STEPS,
        metrics: Sequence[dict[str, Any]] = (),
        settings: Mapping[str, Any] | None = None,
        **model: Any,
    ) -> None:
        """Write model.json and metrics.jsonl.

        `settings` are laid over the usual ones, as `{"algorithm.beta": 0.04}`; `model` has further
        top-level keys of model.json.
        """
        log = self.folder / "metrics.jsonl"
        rows = metrics or made_up_metrics(max(steps), self.run["seed"])
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
        checkpoints = [
            {"step": step, "path": f"checkpoint-{step}", "sha256": _model_hash(step)}
            for step in steps
            if step
        ]
        content = model_content(self.run, f"config-of-{self.folder.name}", settings or {}, log)
        content |= {"checkpoints": checkpoints, **model}
        self.model.write_text(json.dumps(content))

    def evaluate(
        self,
        step: int,
        correct: Any,
        *,
        suite: str = "countdown_3",
        length: Any = None,
        vote: Any = None,
        greedy: Any = None,
        completions: Path | None = None,
        **outcomes: Any,
    ) -> Path:
        """Write the evaluation of a step; the outcomes are [n_problems, n_samples].

        Without `vote` all wrong answers of a problem are the same; `greedy` has whether the greedy
        completion of each problem is correct, and is the first sample's by default. Other
        `outcomes` of the samples are laid over the usual ones.
        """
        correct = np.asarray(correct).astype(int)
        length = np.full(correct.shape, 50 + step) if length is None else np.asarray(length)
        vote = 1 - correct if vote is None else np.asarray(vote, dtype=object)
        greedy = correct[:, 0] if greedy is None else np.asarray(greedy).astype(int)
        problems = [
            {
                "problem_id": f"p{index:04d}",
                "correct": row.tolist(),
                "lenient": row.tolist(),
                "format": [1] * len(row),
                "length": length[index].tolist(),
                "truncated": [0] * len(row),
                "repetition": [0.1] * len(row),
                "vote": vote[index].tolist(),
                **{name: np.asarray(given)[index].tolist() for name, given in outcomes.items()},
                "greedy": {
                    "correct": int(greedy[index]),
                    "lenient": int(greedy[index]),
                    "format": 1,
                    "length": int(length[index, 0]),
                    "truncated": 0,
                    "repetition": 0.1,
                },
            }
            for index, row in enumerate(correct)
        ]
        content = {
            "run": self.run,
            "suite": suite,
            "step": step,
            "config_hash": f"config-of-{self.folder.name}",
            "model_sha256": _model_hash(step),
            "suite_sha256": "5017e" * 12,
            "decoding": {
                "max_problems": 512,
                "n_samples": correct.shape[1],
                "temperature": 1.0,
                "top_p": 1.0,
                "greedy": True,
                "max_new_tokens": 272,
                "seed": 0,
                "prompt": "Use `+`|\n{x}",
            },
            "engine": "transformers 5.17.0",
            "n_problems": correct.shape[0],
            "n_samples": correct.shape[1],
            "metrics": {"accuracy": float(correct.mean()), "format": 1.0, "repetition": 0.1},
            "greedy_metrics": {"accuracy": float(greedy.mean()), "format": 1.0},
            "problems": problems,
            "completions": str(completions) if completions else None,
            "tokens": int(length.sum() + length[:, 0].sum()),
            "seconds": 12.5,
            "tokens_per_second": round(float(length.sum() + length[:, 0].sum()) / 10, 1),
            "provenance": provenance(),
        }
        path = self.folder / f"{suite}-{step}.json"
        path.write_text(json.dumps(content))
        self.evaluations[suite, step] = path
        return path


def model_content(
    run: Mapping[str, Any], config_hash: str, settings: Mapping[str, Any], log: Path
) -> dict[str, Any]:
    """Content of model.json without checkpoints; `settings` are laid over the usual ones."""
    return {
        "run": run,
        "config_hash": config_hash,
        "data_hash": "da7a" * 16,
        "base_model": {"name": "mini-base", "sha256": _model_hash(0)},
        "settings": settings_of(run, settings),
        "checkpoints": [],
        "metrics": str(log),
        "gpus": 0,
        "gpu": None,
        "train_seconds": 300.1,
        "generated_tokens": 123456,
        "provenance": provenance(),
    }


def settings_of(run: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a run of the mini scale has them, with changes by dotted key."""
    settings: dict[str, Any] = {
        **run,
        "model": "mini-base",
        "is_mini_base": True,
        "dataset": "countdown_3",
        "prompt": "countdown_datawhale",
        "placement": "colocate",
        "dtype": "bfloat16",
        "rewards": [
            {"name": "format", "weight": 1.0, "options": {}, "model": None},
            {"name": "correct", "weight": 1.0, "options": {}, "model": None},
        ],
        "algorithm": {
            "loss_type": "grpo",
            "scale_rewards": "group",
            "beta": 0.001,
            "num_generations": 8,
            "num_iterations": 1,
            "updates_per_rollout": 1,
            "epsilon": 0.2,
            "temperature": 0.9,
            "lr_scheduler_type": "cosine",
        },
        "sizes": {
            "max_steps": STEPS[-1],
            "prompts_per_step": 32,
            "max_prompt_length": 64,
            "max_completion_length": 272,
            "learning_rate": 6e-4,
            "save_steps": 20,
        },
        "evaluation": {"max_problems": 512, "n_samples": 2, "temperature": 1.0, "top_p": 1.0},
        "backends": {},
    }
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        (settings[section] if section else settings)[name] = value
    return settings


def small_run(folder: Path, recipe: str = "datawhale_r1", seed: int = 0, **run: str) -> RunFiles:
    """One run of 40 problems × 2 samples that learns a little between steps 0, 20 and 40."""
    files = RunFiles(folder, recipe, seed, **run)
    files.train()
    generator = np.random.default_rng(seed)
    for step in STEPS:
        files.evaluate(step, generator.random((40, 2)) < 0.3 + step / 100)
    return files


def two_steps(folder: Path, base: Any, trained: Any, seed: int = 0, **outcomes: Any) -> RunFiles:
    """One run with these outcomes at steps 0 and 20; of others, a pair for the two steps."""
    files = RunFiles(folder, seed=seed)
    files.train(steps=[0, 20])
    for place, correct in enumerate((base, trained)):
        files.evaluate(
            20 * place, correct, **{name: pair[place] for name, pair in outcomes.items()}
        )
    return files


def paths(*runs: RunFiles) -> tuple[list[Path], list[Path]]:
    """Paths of the models and of the evaluations, as `load` takes them."""
    return [run.model for run in runs], [path for run in runs for path in run.evaluations.values()]


def edit(path: Path, **changes: Any) -> None:
    """Replace top-level keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def provenance(**versions: str) -> dict[str, Any]:
    """Provenance as the stages write it."""
    hardware = {"cpu": "Some CPU", "cores": 2, "memory_gib": 23.5}
    return {"commit": "c0ffee" * 6, "versions": {**VERSIONS, **versions}, "hardware": hardware}


def made_up_metrics(steps: int, seed: int) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl that rise like those of a run that learns."""
    generator = np.random.default_rng(seed)
    rows = []
    for step in range(1, steps + 1):
        correct = float(
            np.clip(0.25 + 0.4 * (1 - np.exp(-step / 40)) + generator.normal(0, 0.06), 0, 1)
        )
        rows.append(
            {
                "step": step,
                "reward": correct + 0.95,
                "rewards/correct/mean": correct,
                "rewards/format/mean": float(1 - 0.2 * np.exp(-step / 10)),
                "kl": 0.0004 * step,
                "entropy": float(0.4 + 0.5 * np.exp(-step / 30) + generator.normal(0, 0.02)),
                "completions/mean_length": float(45 + 0.3 * step + generator.normal(0, 3)),
                "completions/clipped_ratio": float(abs(generator.normal(0, 0.01))),
                "frac_reward_zero_std": float(0.1 + 0.002 * step + abs(generator.normal(0, 0.03))),
                "loss": 0.01,
            }
        )
    return rows


def write_completions(path: Path, rows: Sequence[tuple[str, int, str, int]]) -> None:
    """Write a parquet of (problem_id, sample, completion, correct), all of them sampled."""
    columns = ["problem_id", "sample", "completion", "correct"]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    frame.with_columns(decoding=pl.lit("sampled")).write_parquet(path)


def _model_hash(step: int) -> str:
    return f"{step:064d}"
