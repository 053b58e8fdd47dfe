"""Each claim's verdict follows the data: planted results decide it either way, or not at all."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest

import planted
from planted import binary
from r1zero.report.claims.base import Claim, Configured
from r1zero.report.claims.literature import CLAIMS as LITERATURE
from r1zero.report.claims.plans import planned_recipes
from r1zero.report.claims.verdicts import Judged, judge
from r1zero.report.results.inputs import RunResults
from r1zero.report.statistics.intervals import hierarchical_delta
from r1zero.settings.run import RunSettings
from tiny import CONFIG

CLAIMS = {claim.id: claim for claim in LITERATURE}
CONFIGURED = Configured.of(CONFIG)
Runs = list[RunResults]


def verdict_of(claim: Claim | str, runs: Sequence[RunResults]) -> Judged:
    found = CLAIMS[claim] if isinstance(claim, str) else claim
    (judged,) = judge([found], runs, CONFIGURED)
    return judged


def learns(base: float, trained: float, recipe: str = "datawhale_r1", **more: Any) -> Runs:
    """Three seeds whose held-out accuracy goes from one rate to another."""
    return [
        planted.run(
            recipe,
            seed,
            steps={
                0: {"correct": binary(base, 10 * seed)},
                40: {"correct": binary(trained, 10 * seed + 1)},
            },
            **more,
        )
        for seed in range(3)
    ]


def formats(*rates: tuple[float, float]) -> Runs:
    """Held-out format rate and accuracy of three seeds at steps 0, 20 and 40."""
    return [
        planted.run(
            seed=seed,
            steps={
                20 * place: {
                    "format": binary(f, 50 * seed + place),
                    "correct": binary(c, 50 * seed + 9 + place),
                }
                for place, (f, c) in enumerate(rates)
            },
        )
        for seed in range(3)
    ]


def lengths(before: float, after: float, *, truncated: float = 0.0, seeds: int = 3) -> Runs:
    """Mean lengths of completions that end; a share of the trained model's is cut at 272 tokens."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        cut = (rng.random((planted.N_PROBLEMS, 1)) < truncated).astype(int)
        ended = rng.gamma(9, after / 9, cut.shape)
        steps = {
            0: {"length": rng.gamma(9, before / 9, cut.shape)},
            40: {"length": np.where(cut, 272, ended), "truncated": cut},
        }
        found.append(planted.run(seed=seed, steps=steps))
    return found


def logs(metrics: dict[str, Callable[[np.ndarray], np.ndarray]], **settings: Any) -> Runs:
    """Metrics of three seeds over 48 steps, as functions of the share of them, with noise."""
    time = np.linspace(0, 1, 48)
    noise = np.random.default_rng(5).normal(0, 0.02, (3, len(time)))
    noise[:, 0] = 0
    return [
        planted.run(
            seed=seed,
            training={name: (of(time) + noise[seed]).tolist() for name, of in metrics.items()},
            settings=settings,
        )
        for seed in range(3)
    ]


def rises(time: np.ndarray) -> np.ndarray:
    return time


def falls(time: np.ndarray) -> np.ndarray:
    return -time


def flat(time: np.ndarray) -> np.ndarray:
    return 0 * time


CLIPPED = ("clip_ratio/region_mean", "clip_ratio/low_min", "clip_ratio/high_max")


def clipped(share: float, **settings: Any) -> Runs:
    training = {name: [0.0] * 11 + [share] for name in CLIPPED}
    return [planted.run(training=training, settings=settings)]


def paths_of(*, high: Sequence[float], low: Sequence[float], rate: float = 2.0) -> Runs:
    """Accuracies by step of beta 0.04 and of 0.001, the first with `rate` times the other's."""
    arms = {"mini_r1-beta_0.04": (0.04, rate, high), "mini_r1-beta_0.001": (0.001, 1.0, low)}
    return [
        planted.run(
            recipe,
            seed,
            settings={"algorithm.beta": beta, "sizes.learning_rate": 1e-4 * factor},
            steps={
                20 * place: {"correct": binary(level, 100 * seed + place + int(factor * 7))}
                for place, level in enumerate(levels)
            },
        )
        for recipe, (beta, factor, levels) in arms.items()
        for seed in range(3)
    ]


def wrong_lengths(grpo: float, dr_grpo: float, seeds: int = 3) -> Runs:
    """How many times as long wrong answers become under either loss; right ones never change."""
    arms = {"grpo": ("group", grpo), "dr_grpo": ("none", dr_grpo)}
    noise = np.random.default_rng(3).normal(0, 4, (seeds, 2, planted.N_PROBLEMS, 1))
    return [
        planted.run(
            f"datawhale_r1-loss_type_{loss}",
            seed,
            settings={"algorithm.loss_type": loss, "algorithm.scale_rewards": scaling},
            steps={
                40 * end: {
                    "correct": (right := binary(0.4, 10 * seed + end)),
                    "length": np.where(right, 30, 60 * growth**end) + noise[seed, end],
                }
                for end in (0, 1)
            },
        )
        for loss, (scaling, growth) in arms.items()
        for seed in range(seeds)
    ]


def samples(base: float, trained: float, at_least: float, n_samples: int = 64) -> Runs:
    """Rates of single samples; the last share of the problems is out of reach when trained."""
    found = []
    for seed in range(3):
        before, after = (
            (np.random.default_rng(2 * seed + place).random((200, n_samples)) < rate).astype(int)
            for place, rate in enumerate((base, trained))
        )
        after[int(200 * at_least) :] = 0
        steps = {0: {"correct": before}, 40: {"correct": after}}
        found.append(planted.run(seed=seed, steps=steps))
    return found


def on_backends(first: float, second: float, names: tuple[str, str], seeds: int = 3) -> Runs:
    return [
        planted.run(
            seed=seed,
            backend=backend,
            steps={
                0: {"correct": binary(0.3, seed, 200, 24)},
                40: {"correct": binary(rate, 50 + seed + 9 * place, 200, 24)},
            },
        )
        for place, (backend, rate) in enumerate(zip(names, (first, second), strict=True))
        for seed in range(seeds)
    ]


def decoupled(
    first: tuple[str, str], second: tuple[str, str], beta: float = 0.001, seeds: int = 3
) -> Runs:
    """Runs whose reference models are at two places, with the hashes of their last checkpoints."""
    return [
        planted.run(
            f"datawhale_r1-reference_{arm}",
            seed,
            settings={"algorithm.beta": beta if arm else 0.001},
            reference=place,
            checkpoints=[
                {"step": 20, "path": "c20", "sha256": "0"},
                {"step": 40, "path": "c40", "sha256": f"{weights}{seed}"},
            ],
        )
        for arm, (place, weights) in enumerate((first, second))
        for seed in range(seeds)
    ]


def workers(steps: int, seconds: float, gpus: int = 2, seeds: int = 2) -> Runs:
    sizes = {"trl_gsm8k": (1868, 46800.0, 1), "trl_gsm8k_2x4090": (steps, seconds, gpus)}
    return [
        planted.run(
            recipe,
            seed,
            settings={"sizes.max_steps": count},
            train_seconds=time * (1 + 0.01 * seed),
            gpus=on,
            scale="paper",
            task="gsm8k",
        )
        for recipe, (count, time, on) in sizes.items()
        for seed in range(seeds)
    ]


RANDOM = {"rewards": [{"name": "random", "weight": 1.0}]}
ZERO_BETA = {"algorithm.beta": 0.0}

CASES: dict[str, list[tuple[str, Runs]]] = {
    "rl_raises_accuracy": [
        ("reproduced", learns(0.3, 0.6)),
        ("contradicted", learns(0.6, 0.3)),
        ("seen in one run", learns(0.3, 0.6)[:1]),
        ("contradicted in one run", learns(0.6, 0.3)[:1]),
        ("inconclusive", learns(0.3, 0.3)),
        ("inconclusive", learns(0.3, 0.6) + learns(0.3, 0.3, "mini_r1")),
        ("contradicted", learns(0.3, 0.6) + learns(0.6, 0.3, "mini_r1")),
        # An ablation shows what breaks a training; the claim is on recipes.
        ("reproduced", learns(0.3, 0.6) + learns(0.6, 0.3, "datawhale_r1-beta_1")),
        ("not tested", learns(0.3, 0.6, settings=RANDOM)),
        ("not tested", learns(0.3, 0.6, settings={"is_mini_base": False, "model": "x-instruct"})),
    ],
    "format_saturates_first": [
        ("reproduced", formats((0.2, 0.2), (0.9, 0.3), (0.95, 0.6))),
        ("contradicted", formats((0.2, 0.2), (0.3, 0.58), (0.95, 0.6))),
        ("inconclusive", formats((0.2, 0.2), (0.55, 0.4), (0.95, 0.6))),
        # There is no way to go: the base knows the format.
        ("not tested", formats((1, 0.2), (1, 0.3), (1, 0.6))),
        ("inconclusive", formats((0.5, 0.2), (0.5, 0.3), (0.55, 0.6))),
        ("inconclusive", formats((0.2, 0.2), (0.9, 0.6))),
    ],
    "loss_rises_from_zero": [
        ("reproduced", logs({"loss": rises, "reward": rises})),
        ("contradicted", logs({"loss": falls, "reward": rises})),
        ("contradicted", logs({"loss": lambda t: t + 0.5, "reward": rises})),
        ("inconclusive", logs({"loss": flat, "reward": rises})),
        ("inconclusive", logs({"loss": rises, "reward": flat})),
        ("not tested", logs({"loss": rises, "reward": falls})),
        ("not tested", logs({"loss": rises, "reward": rises}, **ZERO_BETA)),
        ("not tested", logs({"reward": rises})),
    ],
    "one_update_clips_nothing": [
        ("reproduced", clipped(0)),
        ("contradicted", clipped(0.01)),
        # One step shows little of a training.
        ("inconclusive", [planted.run(training={name: [0.0] for name in CLIPPED})]),
        ("not tested", clipped(0.01, **{"algorithm.updates_per_rollout": 4})),
        ("not tested", clipped(0.01, **{"algorithm.num_iterations": 2})),
        ("not tested", logs({"reward": rises})),
    ],
    "length_grows": [
        ("reproduced", lengths(50, 70)),
        ("contradicted", lengths(70, 50)),
        ("inconclusive", lengths(50, 50)),
        # The mean of all completions grows by 66 tokens, in loops alone.
        ("inconclusive", lengths(50, 50, truncated=0.3)),
        ("seen in one run", lengths(50, 70, seeds=1)),
        ("contradicted in one run", lengths(70, 50, seeds=1)),
        ("not tested", learns(0.3, 0.6, settings=RANDOM)),
    ],
    "high_rate_and_beta_unstable": [
        ("reproduced", paths_of(high=(0.3, 0.5, 0.2), low=(0.3, 0.4, 0.5))),
        ("contradicted", paths_of(high=(0.3, 0.4, 0.5), low=(0.3, 0.5, 0.2))),
        ("inconclusive", paths_of(high=(0.3, 0.4, 0.5), low=(0.3, 0.4, 0.5))),
        # The learning rates are not in the ratio of the claim.
        ("not tested", paths_of(high=(0.3, 0.5, 0.2), low=(0.3, 0.4, 0.5), rate=3)),
        ("not tested", paths_of(high=(0.3, 0.5, 0.2), low=(0.3, 0.4, 0.5))[1:]),
    ],
    "dr_grpo_stops_wrong_length": [
        ("reproduced", wrong_lengths(1.5, 1.0)),
        ("contradicted", wrong_lengths(1.5, 2.0)),
        # Less, but still 20 % longer.
        ("contradicted", wrong_lengths(1.5, 1.2)),
        ("inconclusive", wrong_lengths(1.5, 1.1)),
        ("inconclusive", wrong_lengths(1.0, 1.0)),
        ("not tested", wrong_lengths(0.7, 1.0)),
        ("not tested", wrong_lengths(1.5, 1.0)[:3]),
        ("not tested", wrong_lengths(1.5, 1.0, seeds=1)),
    ],
    "random_reward_is_flat": [
        ("reproduced", learns(0.3, 0.2, settings=RANDOM)),
        ("contradicted", learns(0.3, 0.5, settings=RANDOM)),
        ("inconclusive", learns(0.3, 0.33, settings=RANDOM)),
        ("not tested", learns(0.3, 0.3)),
    ],
    "base_catches_up_at_large_k": [
        ("reproduced", samples(0.1, 0.3, 1.0)),
        ("reproduced", samples(0.1, 0.5, 0.8)),
        ("contradicted", samples(0.005, 0.3, 1.0)),
        ("not tested", samples(0.3, 0.1, 1.0)),
        ("not tested", samples(0.1, 0.3, 1.0, n_samples=8)),
    ],
    "decoupled_reference_changes_nothing": [
        ("reproduced", decoupled(("trainer", "a"), ("server", "a"))),
        ("reproduced", decoupled(("trainer", "a"), ("remote", "a"))),
        ("contradicted", decoupled(("trainer", "a"), ("server", "b"))),
        # Neither has a reference model on a server, or both have.
        ("not tested", decoupled(("trainer", "a"), ("trainer", "a"))),
        ("not tested", decoupled(("server", "a"), ("server", "a"))),
        # Another algorithm.
        ("not tested", decoupled(("trainer", "a"), ("server", "a"), beta=0.04)),
    ],
    "two_workers_halve_steps_not_time": [
        ("reproduced", workers(934, 36000.0)),
        ("contradicted", workers(934, 20000.0)),
        ("contradicted", workers(1868, 36000.0)),
        ("contradicted", workers(934, 23500.0)),
        ("inconclusive", workers(934, 28100.0)),
        ("not tested", workers(934, 36000.0, gpus=1)),
        ("not tested", workers(934, 36000.0, seeds=1)),
        ("not tested", workers(934, 36000.0)[:2]),
        ("not tested", learns(0.3, 0.6)),
    ],
    "saving_every_25_steps_fills_700_gb": [("reproduced", learns(0.3, 0.6)), ("reproduced", [])],
    "backends_agree": [
        ("reproduced", on_backends(0.5, 0.5, ("swift", "trl"))),
        ("contradicted", on_backends(0.5, 0.7, ("swift", "trl"))),
        ("inconclusive", on_backends(0.5, 0.53, ("swift", "trl"))),
        ("not tested", on_backends(0.5, 0.5, ("swift", "trl"), seeds=2)),
        ("not tested", on_backends(0.5, 0.5, ("trl", "trl"))[:3]),
    ],
}
PLANTED = [
    pytest.param(claim, verdict, runs, id=f"{claim}-{place}-{verdict}")
    for claim, cases in CASES.items()
    for place, (verdict, runs) in enumerate(cases)
]


@pytest.mark.parametrize(("claim", "verdict", "runs"), PLANTED)
def test_the_verdict_follows_the_data(claim: str, verdict: str, runs: Runs) -> None:
    judged = verdict_of(claim, runs)
    assert judged.verdict == verdict, judged.why
    assert judged.why.endswith(".") or CLAIMS[claim].takes in judged.why
    known = {path for result in runs for path in result.files}
    assert set(judged.files) <= known or claim.startswith("saving")


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_training_that_diverged_leaves_claims_open(broken: float) -> None:
    # As TRL logs it: the gradient is no number, and other metrics of the step are missing.
    for claim in ("loss_rises_from_zero", "one_update_clips_nothing"):
        good = next(runs for verdict, runs in CASES[claim] if verdict == "reproduced")
        row = pl.DataFrame({"step": [5], "metric": ["grad_norm"], "value": [broken]})
        runs = [
            replace(run, training=pl.concat([run.training.filter(pl.col("step") != 5), row]))
            for run in good
        ]
        judged = verdict_of(claim, runs)
        assert judged.verdict == "inconclusive", judged.why
        assert "step 5" in judged.why


def test_a_broken_bound_contradicts_though_the_training_diverged() -> None:
    (run,) = clipped(0.01)
    row = pl.DataFrame({"step": [12], "metric": ["grad_norm"], "value": [math.inf]})
    diverged = replace(run, training=pl.concat([run.training, row]))
    assert verdict_of("one_update_clips_nothing", [diverged]).verdict == "contradicted"


def test_two_seeds_are_warned_of() -> None:
    assert "two seeds" in verdict_of("rl_raises_accuracy", learns(0.3, 0.6)[:2]).why
    assert "two seeds" not in verdict_of("rl_raises_accuracy", learns(0.3, 0.6)).why


def test_every_claim_of_the_ledger_is_planted() -> None:
    assert CASES.keys() == CLAIMS.keys()
    undecided = {"saving_every_25_steps_fills_700_gb"}
    for claim in CLAIMS.keys() - undecided:
        verdicts = {verdict for verdict, _ in CASES[claim]}
        assert {"reproduced", "contradicted", "not tested"} <= verdicts, claim


def test_a_smaller_disk_contradicts_the_computed_claim() -> None:
    claim = CLAIMS["saving_every_25_steps_fills_700_gb"]
    assert claim.parameters == {"gpus": 4, "gpu": "h100-80g", "over_gb": 700}
    judged = verdict_of(replace(claim, test=partial(claim.test, over_gb=800)), [])
    assert judged.verdict == "contradicted"
    assert "18 checkpoints of 43.2 GB are 778 GB" in judged.why


def test_the_interval_is_that_of_the_main_table() -> None:
    runs = learns(0.3, 0.6)
    suites = [result.suites[0] for result in runs]
    base = [suite.base.outcomes("correct") for suite in suites]
    trained = [suite.trained.outcomes("correct") for suite in suites]
    judged = verdict_of("rl_raises_accuracy", runs)
    expected = hierarchical_delta(base, trained)
    assert judged.interval is not None
    assert judged.unit == "points"
    assert judged.interval.low == pytest.approx(100 * expected.low)
    assert f"{100 * expected.estimate:+.1f} points" in judged.why


def test_dissenting_recipes_are_named() -> None:
    judged = verdict_of(
        "rl_raises_accuracy",
        learns(0.3, 0.6) + learns(0.6, 0.3, "mini_r1") + learns(0.3, 0.3, "nano_aha"),
    )
    places = [judged.why.index(name) for name in ("mini_r1 −", "nano_aha ", "datawhale_r1 +")]
    assert places == sorted(places)
    assert judged.interval is not None
    assert judged.interval.high < 0


def test_one_of_many_recipes_contradicts_only_if_clearly_so() -> None:
    """One of a dozen falls just below 0 by chance every third time: Holm's procedure."""
    base = binary(0.5, 1)
    flips = np.zeros(planted.N_PROBLEMS, dtype=int)
    flips[np.flatnonzero(base)[:9]] = 1
    flips[np.flatnonzero(1 - base[:, 0])[:1]] = -1
    slightly_worse = base - flips[:, np.newaxis]
    one = [planted.run("mini_r1", steps={0: {"correct": base}, 40: {"correct": slightly_worse}})]
    others = [item for n in range(11) for item in learns(0.3, 0.6, f"recipe{n}")]
    assert verdict_of("rl_raises_accuracy", one).verdict == "contradicted in one run"
    assert verdict_of("rl_raises_accuracy", one + others).verdict == "inconclusive"


def test_runs_of_other_problems_are_no_pair() -> None:
    runs = wrong_lengths(1.5, 1.0)
    for result in runs[3:]:
        (suite,) = result.suites
        other = [item.model_copy(update={"suite_sha256": "0"}) for item in suite.evaluations]
        moved = replace(result, suites=(replace(suite, evaluations=tuple(other)),))
        runs[runs.index(result)] = moved
    assert verdict_of("dr_grpo_stops_wrong_length", runs).verdict == "not tested"


def test_a_difference_in_another_setting_is_no_pair() -> None:
    runs = wrong_lengths(1.5, 1.0)
    for result in runs[3:]:
        result.model.settings["algorithm"]["num_generations"] = 16
    judged = verdict_of("dr_grpo_stops_wrong_length", runs)
    assert judged.verdict == "not tested"
    assert "algorithm.loss_type" in judged.why


def test_what_is_not_tested_says_what_is_missing_and_what_it_takes() -> None:
    judged = verdict_of("base_catches_up_at_large_k", learns(0.3, 0.6))
    assert "64 samples" in judged.why
    assert judged.why.endswith(CLAIMS["base_catches_up_at_large_k"].takes)
    assert judged.interval is None
    assert judged.files == ()


def test_a_claim_of_the_paper_scale_says_so_at_scale_mini() -> None:
    judged = verdict_of("two_workers_halve_steps_not_time", learns(0.3, 0.6))
    assert judged.verdict == "not tested"
    assert "scale paper" in judged.why


def test_planned_steps_stand_in_for_runs() -> None:
    judged = verdict_of("two_workers_halve_steps_not_time", workers(934, 36000.0)[:2])
    assert judged.verdict == "not tested"
    assert "1,868 and 934 steps" in judged.why


def test_suites_of_others_do_not_decide() -> None:
    """AIME's thirty problems settle nothing; the claim is on the held-out problems of the task."""
    (own, *_), (hard, *_) = learns(0.3, 0.6), learns(0.6, 0.3, suite="aime24")
    both = RunResults(own.model, (*hard.suites, *own.suites), own.training)
    assert verdict_of("rl_raises_accuracy", [both]).verdict == "seen in one run"


def test_plans_that_decide_claims_are_known_to_the_workflow() -> None:
    assert {name for claim in LITERATURE for name in claim.plans} == set(planned_recipes())


def test_needs_name_settings_that_exist() -> None:
    for claim in LITERATURE:
        for key in [*claim.needs.settings, *claim.needs.above]:
            section, _, name = key.partition(".")
            annotation: Any = RunSettings.model_fields[section].annotation
            assert name in annotation.model_fields, f"{claim.id}: {key}"
