"""The claims that a report judges, in its order.

Each function is one claim: its name is the id, the first paragraph of its docstring the statement,
and its keyword-only parameters are the thresholds, in shares for rates (3 points are 0.03).
"""

from r1zero.plan.cost import disk_of
from r1zero.plan.layout import Layout
from r1zero.plan.machine import find_machine
from r1zero.plan.search import lay_out
from r1zero.report.claims.base import Claim, Evidence, Needs, Setups, claim
from r1zero.report.claims.checks import (
    bounds,
    change,
    contrast,
    gpus_of,
    published_run,
    time_ratio,
    trends,
)
from r1zero.report.claims.findings import (
    above,
    below,
    certain,
    held,
    logged_files,
    name_of,
    within,
)
from r1zero.report.claims.plans import FREQUENT_CHECKPOINTS, ONE_WORKER, TWO_WORKERS
from r1zero.report.claims.quantities import (
    ACCURACY,
    DRAWDOWN,
    FINAL_ACCURACY,
    FORMAT,
    PASS_AT_N,
    SATURATION_LEAD,
    TERMINATED_LENGTH,
    WRONG_LENGTH_GROWTH,
)
from r1zero.report.claims.selection import Arms, decoupled
from r1zero.settings import Hardware
from r1zero.settings.sources import HubModel


@claim(
    source="DeepSeek-R1 (arXiv 2501.12948), section 2.2;"
    " SimpleRL-Zoo, table in the README of hkust-nlp/simpleRL-reason",
    needs=Needs(base_model=True, rewards=("correct",)),
    takes="`recipes: [datawhale_r1]` at scale mini, `recipes: [r1zero_math]` at scale paper",
)
def rl_raises_accuracy(setups: Setups, *, gain: float = 0) -> Evidence:
    """RL with a correctness reward raises the held-out accuracy of a base model."""
    return change(setups, ACCURACY, above(gain))


@claim(
    source="Mini-R1, philschmid.de/mini-deepseek-r1: the format after some 50 of 450 steps, while"
    " the success still rises",
    needs=Needs(rewards=("format", "correct")),
    takes="a base model that does not know the format, such as `recipes: [r1zero_math]` with"
    " `scale: paper`; the bases of scale mini know it",
)
def format_saturates_first(
    setups: Setups, *, lead: float = 0, format_gain: float = 0.05, accuracy_gain: float = 0
) -> Evidence:
    """The format is learnt before the accuracy.

    The lead is undefined or meaningless where format or accuracy hardly change, so both have to.
    """
    given = {FORMAT: above(format_gain), ACCURACY: above(accuracy_gain)}
    return change(setups, SATURATION_LEAD, above(lead), given=given)


@claim(
    source="huggingface/trl#2703, huggingface/open-r1#239",
    # vLLM's importance weights keep the loss from starting at 0.
    scales=("mini",),
    needs=Needs(
        settings={
            "algorithm.loss_type": "grpo",
            "algorithm.updates_per_rollout": 1,
            "algorithm.num_iterations": 1,
            # A completion that leaves the loss takes its part of the group's sum with it.
            "algorithm.zero_variance_groups": "keep",
            "algorithm.mask_truncated_completions": False,
        },
        above={"algorithm.beta": 0},
        variants=True,
    ),
    takes="`recipes: [datawhale_r1]`",
)
def loss_rises_from_zero(
    setups: Setups, *, rise: float = 0, reward_gain: float = 0, tolerance: float = 1e-6
) -> Evidence:
    """The loss starts at 0 and then rises, while the reward improves.

    Only if each completion's loss is divided by its own length do the advantages of a group cancel,
    so that the rest of the loss is beta times the KL divergence, which starts at 0.
    """
    return trends(
        setups,
        {"loss": above(rise)},
        given={"reward": above(reward_gain)},
        starts_at={"loss": 0},
        tolerance=tolerance,
    )


@claim(
    source="DeepSeekMath (arXiv 2402.03300), section 4.2: one update after each exploration;"
    " chunhuizhang/llm_rl, derivation of the loss of 0",
    needs=Needs(
        settings={"algorithm.updates_per_rollout": 1, "algorithm.num_iterations": 1},
        variants=True,
    ),
    takes="`recipes: [datawhale_r1]`",
    kind="identity",
)
def one_update_clips_nothing(
    setups: Setups, *, most_clipped: float = 0, fewest_steps: int = 10
) -> Evidence:
    """With one update per rollout no token is clipped.

    The probability ratio is then 1; TRL logs no ratio, only what is clipped, and a ratio within
    epsilon of 1 is not. So the claim is on the clipping alone.
    """
    metrics = ("clip_ratio/region_mean", "clip_ratio/low_min", "clip_ratio/high_max")
    limits = dict.fromkeys(metrics, (0, most_clipped))
    return bounds(setups, limits, fewest_steps=fewest_steps)


@claim(
    source="DeepSeek-R1 (arXiv 2501.12948), figure 3",
    needs=Needs(base_model=True, rewards=("correct",)),
    takes="`recipes: [datawhale_r1]`",
)
def length_grows(setups: Setups, *, tokens: float = 0) -> Evidence:
    """Completions that end by themselves are longer after the training.

    Completions that are cut at the limit are left out: loops would count as long thoughts.
    """
    return change(setups, TERMINATED_LENGTH, above(tokens / 100))


@claim(
    source="Mini-R1, philschmid.de/mini-deepseek-r1: unstable after some 150 steps;"
    " ms-swift, docs/source_en/BestPractices/GRPO.md: the format falls from 1 to 0.45",
    needs=Needs(tasks=("countdown",), variants=True, seeds=3),
    takes="`seeds: [0, 1, 2]` and `ablations: [{recipe: mini_r1, vary: {algorithm.beta:"
    " [0.04, 0.001], sizes.learning_rate: [1.0e-6, 5.0e-7]}}]`",
)
def high_rate_and_beta_unstable(setups: Setups, *, loss: float = 0) -> Evidence:
    """Learning rate 1e-6 with beta 0.04 is less stable than 5e-7 with beta 0.001.

    Scales have learning rates of their own, but keep their ratio.
    """
    arms = Arms({"algorithm.beta": (0.04, 0.001)}, ratio={"sizes.learning_rate": 2})
    return contrast(setups, arms, DRAWDOWN, above(loss))


@claim(
    source="Dr. GRPO (arXiv 2503.20783), section 3; README of sail-sg/understand-r1-zero",
    needs=Needs(rewards=("correct",), variants=True, seeds=3),
    takes="`seeds: [0, 1, 2]` and `ablations: [{recipe: datawhale_r1, vary: {algorithm.loss_type:"
    " [grpo, dr_grpo], algorithm.scale_rewards: [group, none]}}]`",
)
def dr_grpo_stops_wrong_length(setups: Setups, *, growth_of_dr_grpo: float = 0.1) -> Evidence:
    """Wrong answers grow longer under GRPO, and do not under Dr. GRPO.

    Dr. GRPO leaves out both divisions: by the length of a completion, and by the standard deviation
    of the rewards of a group.
    """
    arms = Arms(
        {
            "algorithm.loss_type": ("grpo", "dr_grpo"),
            "algorithm.scale_rewards": ("group", "none"),
        }
    )
    return contrast(
        setups,
        arms,
        WRONG_LENGTH_GROWTH,
        above(0),
        given_first=above(0),
        expected_second=below(growth_of_dr_grpo),
    )


@claim(
    source="control to Spurious Rewards (arXiv 2506.10947), where a random reward gained"
    " Qwen2.5-Math 21.4 points on MATH-500",
    needs=Needs(tasks=("countdown",), rewards=("random",), without_rewards=("correct",)),
    takes="`recipes: [countdown_random]`; for a margin of 3 points some 1,000 completions and more",
)
def random_reward_is_flat(setups: Setups, *, margin: float = 0.03) -> Evidence:
    """A random reward does not raise the accuracy on Countdown, not by as much as 3 points.

    One-sided equivalence: a fall of the accuracy is no gain.
    """
    return change(setups, ACCURACY, below(margin))


@claim(
    source="Yue et al. (arXiv 2504.13837)",
    needs=Needs(base_model=True, rewards=("correct",), samples=64),
    takes="`evaluation: {n_samples: 64}` in the recipe, or under `tasks` of `scales/mini.yaml`",
)
def base_catches_up_at_large_k(
    setups: Setups, *, margin: float = 0.02, accuracy_gain: float = 0
) -> Evidence:
    """RL raises pass@1, but with many samples the base model solves as many problems."""
    return change(setups, PASS_AT_N, below(margin), given={ACCURACY: above(accuracy_gain)})


@claim(
    source="lsdefine/simple_GRPO, ref_server.py",
    needs=Needs(variants=True),
    takes="`ablations: [{recipe: datawhale_r1, vary: {reference: [trainer, server]}}]`",
)
def decoupled_reference_changes_nothing(setups: Setups) -> Evidence:
    """A reference model on a server of its own changes nothing but the memory.

    The weights of all checkpoints are compared bit by bit, between runs that differ in this alone.
    """
    findings = []
    for remote, local in decoupled(setups.groups):
        theirs = {each.step: each.sha256 for each in local.model.checkpoints}
        equal = [theirs.get(each.step) == each.sha256 for each in remote.model.checkpoints]
        figures = f"{sum(equal)} of {len(equal)} checkpoints are the same"
        is_so = all(equal) and len(equal) == len(theirs) > 0
        subject = f"{local.run.recipe} ({local.run.backend}), seed {local.run.seed}"
        sources = remote.model.source, local.model.source
        findings.append(certain(subject, "weights", is_so, figures, *sources))
    if not findings:
        return Evidence(
            missing="pair of runs that differ in the place of the reference model alone"
        )
    return Evidence(tuple(findings))


@claim(
    source="chunhuizhang/llm_rl, tutorials/r1-k1.5/trl_grpo/trl_grpo.ipynb: 1,868 steps in 13 h on"
    " one 4090, 934 in just under 10 h on two",
    # Scale mini has a number of steps of its own, the same for both.
    scales=("paper",),
    needs=Needs(seeds=2),
    takes="`scale: paper`, `seeds: [0, 1]`; `recipes: [trl_gsm8k]` with `hardware: {gpus: 1, gpu:"
    " '4090'}`, then `recipes: [trl_gsm8k_2x4090]` with `gpus: 2`",
    plans=(ONE_WORKER, TWO_WORKERS),
)
def two_workers_halve_steps_not_time(
    setups: Setups, *, gpus: float = 2, steps: float = 0.5, time: float = 0.6
) -> Evidence:
    """Two workers halve the optimizer steps, but not the time.

    10 h of 13 h are a ratio of 0.77; half the time plus some overhead would not support the claim.
    """
    found = {group.run.recipe: group for group in reversed(setups.groups)}
    if not {ONE_WORKER, TWO_WORKERS} <= found.keys():
        planned = (published_run(name, setups.configured) for name in (ONE_WORKER, TWO_WORKERS))
        counts = " and ".join(f"{run.sizes.max_steps:,}" for run in planned)
        return Evidence(missing=f"pair of {ONE_WORKER} and {TWO_WORKERS} (planned: {counts} steps)")
    one, two = found[ONE_WORKER], found[TWO_WORKERS]
    on_one, on_two = gpus_of(one), gpus_of(two)
    if on_one is None or on_two != gpus * on_one:
        return Evidence(missing=f"pair of these on {gpus:g} times the GPUs")
    subject, files = f"{name_of(two)} beside {name_of(one)}", logged_files(one) + logged_files(two)
    before, after = (group.settings["sizes.max_steps"] for group in (one, two))
    figures = f"{before} become {after}"
    counted = certain(subject, "optimizer steps", after == steps * before, figures, *files)
    ratio = time_ratio(one, two)
    seeds = min(len(one.runs), len(two.runs))
    expected = above(time)
    timed = held(subject, "training time", ratio, expected, files, unit="times", n_seeds=seeds)
    return Evidence((counted, timed))


@claim(
    source="this project's notes, on Mini-R1's recipe (grpo-qwen-2.5-3b-deepseek-r1-countdown.yaml:"
    " save_steps 25 of 450)",
    takes="`python -m r1zero plan mini_r1 --scale paper --gpus 4 --gpu h100-80g`",
    plans=(FREQUENT_CHECKPOINTS,),
    kind="arithmetic",
)
def saving_every_25_steps_fills_700_gb(
    setups: Setups, *, gpus: int = 4, gpu: str = "h100-80g", over_gb: float = 700
) -> Evidence:
    """`save_steps: 25` with a model of 3 billion parameters passes 700 GB.

    Each parameter takes 2 bytes of weights, and 12 of float32 weights and Adam's moments.
    """
    recipe, configured = FREQUENT_CHECKPOINTS, setups.configured
    run = published_run(recipe, configured)
    source = configured.sources.models.get(run.model)
    architecture = source.architecture if isinstance(source, HubModel) else None
    hardware = Hardware(gpus=gpus, gpu=gpu)
    layout = lay_out(run, find_machine(hardware), architecture, hardware)
    subject = f"{recipe} on {gpus} x {gpu}"
    if architecture is None or not isinstance(layout, Layout):
        return Evidence(missing=f"plan of {subject}")
    disk = disk_of(run, layout, architecture)
    each, size = (disk.weights + disk.optimizer) / 1e9, disk.everything / 1e9
    figures = f"{disk.checkpoints} checkpoints of {each:.1f} GB are {size:.0f} GB"
    files = configured.folder / "recipes" / f"{recipe}.yaml", configured.table
    what = "size of all checkpoints"
    return Evidence((certain(subject, what, size > over_gb, figures, *files),))


@claim(
    source="this project: a backend is a layout, not an algorithm",
    needs=Needs(seeds=3),
    takes="`backends: [trl, split, swift]` and `seeds: [0, 1, 2]`",
)
def backends_agree(setups: Setups, *, margin: float = 0.03) -> Evidence:
    """Different trainers bring the same recipe to the same accuracy, within the spread of seeds."""
    return contrast(setups, Arms(across="backend"), FINAL_ACCURACY, within(margin))


CLAIMS = tuple(found for found in list(globals().values()) if isinstance(found, Claim))
