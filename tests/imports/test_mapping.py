"""Published settings, key by key, on their way to a recipe."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imported import accelerate_file, draft, swift_file, trl_file
from r1zero.errors import UserError
from r1zero.imports.releases import trl_of_text
from r1zero.imports.sizes import nearest_divisor, ratio_of


def default(version: str, key: str, *, uses_vllm: bool = True) -> Any:
    return trl_of_text(version, uses_vllm=uses_vllm).defaults[key]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("beta", {"0.14": 0.04, "0.18.2": 0.04, "0.19": 0.0, "1.16.0": 0.0}),
        ("temperature", {"0.14": 0.9, "0.17.0": 0.9, "0.18": 1.0, "1.16": 1.0}),
        ("loss_type", {"0.15": "grpo", "0.16": "bnpo", "0.21": "bnpo", "0.22": "dapo"}),
        ("max_prompt_length", {"0.14": 512, "0.25": 512, "0.26": None, "1.0": None}),
        ("max_completion_length", {"0.14": 256, "1.9": 256, "1.10": 512}),
        ("top_k", {"0.14": 0, "0.16": 50, "0.17": 50, "0.18": 0}),
        ("per_device_train_batch_size", {"0.14": 1, "0.15": 8, "1.16": 8}),
        ("gradient_accumulation_steps", {"0.14": 8, "0.15": 1, "1.16": 1}),
    ],
)
def test_defaults_are_those_of_the_release(key: str, values: dict[str, Any]) -> None:
    assert {version: default(version, key) for version in values} == values


def test_old_generation_without_vllm_took_fifty() -> None:
    assert default("0.14", "top_k", uses_vllm=False) == 50
    assert default("0.18", "top_k", uses_vllm=False) == 0


def test_the_newest_defaults_are_those_of_the_installed_trl(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    known = trl_of_text(".".join(trl.__version__.split(".")[:2]), uses_vllm=True).defaults
    config = trl.GRPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True)
    ours = {"optimizer", "warmup_ratio", "max_prompt_length"}  # under other names, or gone
    assert {k: v for k, v in known.items() if k not in ours} == {
        k: getattr(config, k) for k in known if k not in ours
    }
    assert config.warmup_steps == 0


@pytest.mark.parametrize("version", ["0.13", "1.17", "2.0", "0", "new", "0.15x"])
def test_other_releases_are_refused(version: str) -> None:
    with pytest.raises(UserError, match=r"--trl-version: the defaults .* \(known: 0.14 to 1.16\)"):
        trl_of_text(version, uses_vllm=True)


@pytest.mark.parametrize(
    ("changes", "release"),
    [
        # 4 a device on 2 trainers is a group of 8; 1 on 2 can only be prompts.
        ({"vllm_device": "auto"}, "TRL 0.15"),
        ({"vllm_device": "auto", "per_device_train_batch_size": 1}, "TRL 0.14"),
        ({"max_prompt_length": 256}, "TRL 0.15"),
        ({"torch_dtype": "bfloat16"}, "TRL 0.15"),
        ({"torch_dtype": "bfloat16", "vllm_mode": "server"}, "TRL 0.18"),
        ({"dtype": "bfloat16", "vllm_mode": "server"}, "TRL 1.16"),
        ({}, "TRL 1.16"),
    ],
)
def test_keys_tell_the_release(tmp_path: Path, changes: dict[str, Any], release: str) -> None:
    found = draft(trl_file(tmp_path, **changes)).release
    assert found
    assert found.name == release


def test_the_release_can_be_said(tmp_path: Path) -> None:
    path = trl_file(tmp_path, vllm_device="auto")
    counted = {
        version: draft(path, trl_version=version).values["sizes.prompts_per_step"]
        for version in ("0.14.0", "0.15.2")
    }
    assert counted == {"0.14.0": 16, "0.15.2": 2}


def test_published_keys_keep_their_values(tmp_path: Path) -> None:
    published = {
        "beta": 0.01,
        "epsilon": 0.1,
        "epsilon_high": 0.28,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "num_generations": 4,
        "num_iterations": 2,
        "loss_type": "dr_grpo",
        "mask_truncated_completions": True,
        "adam_beta1": 0.8,
        "adam_beta2": 0.95,
        "weight_decay": 0.1,
        "max_grad_norm": 0.2,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_ratio": 0.1,
    }
    found = draft(trl_file(tmp_path, **published)).values
    assert {key: found[f"algorithm.{key}"] for key in published} == published


@pytest.mark.parametrize(
    ("value", "carried"),
    [(True, "group"), (False, "none"), ("batch", "batch"), ("none", "none"), ("False", "none")],
)
def test_scaling_of_rewards_had_other_values(tmp_path: Path, value: Any, carried: str) -> None:
    assert (
        draft(trl_file(tmp_path, scale_rewards=value)).values["algorithm.scale_rewards"] == carried
    )


def test_numbers_may_be_text(tmp_path: Path) -> None:
    found = draft(trl_file(tmp_path, learning_rate="1e-6", max_steps="100")).values
    assert (found["sizes.learning_rate"], found["sizes.max_steps"]) == (1e-6, 100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": "small"}, r"trl.yaml: beta: 'small' is not a number"),
        ({"beta": float("inf")}, r"trl.yaml: beta: inf is not a number"),
        ({"beta": True}, r"trl.yaml: beta: True is not a number"),
        ({"max_steps": 10.5}, r"trl.yaml: max_steps: 10.5 is not an integer"),
        ({"num_generations": 0}, r"trl.yaml: num_generations: 0 is less than 1"),
        ({"gradient_accumulation_steps": 0}, r"accumulation_steps: 0 is less than 1"),
        ({"save_steps": 0}, r"trl.yaml: save_steps: 0 is not above 0"),
        ({"mask_truncated_completions": "maybe"}, r"'maybe' is not true or false"),
        ({"scale_rewards": "rows"}, r"scale_rewards: 'rows' is not true or false"),
        (
            {"reward_funcs": ["format"], "reward_weights": [1, 2]},
            r"reward_weights: has 2 values for 1 rewards",
        ),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        draft(trl_file(tmp_path, **changes))


def test_a_value_that_only_a_shell_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"run.sh: beta: '\$BETA' is not a number \(write the value"
    ):
        draft(swift_file(tmp_path, "--beta $BETA"))


@pytest.mark.parametrize(
    ("files", "option", "prompts"),
    [
        ({"vllm_device": "cuda:2"}, None, 2),  # the cards before it train
        ({"vllm_device": "cuda:2"}, 4, 4),
        ({"vllm_device": "cuda:7", "processes": 2}, None, 2),
        ({"vllm_device": "cuda:2", "processes": 8}, None, 2),  # 8 would share vLLM's card
        ({"vllm_device": "auto", "processes": 4}, None, 4),
        ({"processes": 4}, None, 4),
    ],
)
def test_trainers_are_found(
    tmp_path: Path, files: dict[str, Any], option: int | None, prompts: int
) -> None:
    processes = files.pop("processes", None)
    path = trl_file(tmp_path, per_device_train_batch_size=8, gradient_accumulation_steps=1, **files)
    paths = [path, accelerate_file(tmp_path, processes)] if processes else [path]
    found = draft(*paths, trainers=option)
    assert found.values["sizes.prompts_per_step"] == prompts
    assert not found.missing


@pytest.mark.parametrize(
    ("before", "count"),
    [("", 1), ("NPROC_PER_NODE=4", 4), ("n=2; NNODES=$n NPROC_PER_NODE=4", 8)],
)
def test_trainers_of_swift(tmp_path: Path, before: str, count: int) -> None:
    found = draft(swift_file(tmp_path, before=before), trainers=None, prompt="math_r1")
    assert found.values["sizes.prompts_per_step"] == 2 * count


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("NPROC_PER_NODE=0", "run.sh: NPROC_PER_NODE: 0 is less than 1"),
        ("NPROC_PER_NODE=$N", r"run.sh: NPROC_PER_NODE: '\$N' is not a number \(write"),
    ],
)
def test_wrong_counts_of_processes_are_named(tmp_path: Path, before: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draft(swift_file(tmp_path, before=before))


@pytest.mark.parametrize(
    ("changes", "options", "missing", "source", "advice"),
    [
        ({}, {"trainers": None}, "sizes.prompts_per_step", "per_device", "--trainers N"),
        (
            {"gradient_accumulation_steps": 3},
            {"trainers": 1, "trl_version": "1.0"},
            "sizes.prompts_per_step",
            "per_device",
            "= 12 completions in groups of 8 .*no whole groups; say --trainers",
        ),
        (
            {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
            {"trl_version": "0.15"},
            "sizes.prompts_per_step",
            "per_device",
            "TRL 0.15 refused batches that split a group: .*--trl-version",
        ),
        ({"max_steps": -1}, {}, "sizes.max_steps", "num_train_epochs 3 ", "--rows N"),
        ({"max_steps": ..., "num_train_epochs": 1}, {}, "sizes.max_steps", "epochs 1", "--rows"),
        ({"max_steps": 97}, {}, "sizes.save_steps", "save_steps 10", "max_steps=90"),
        ({"model_name_or_path": "a/b"}, {}, "model", "a/b", "models `NAME: .*repo: a/b.*--model"),
        ({"model_name_or_path": ...}, {}, "model", "model", "--model NAME"),
        ({"dataset_name": "a/b"}, {"task": "math"}, "dataset", "a/b", "format: TASK.*--dataset"),
        ({"dataset_name": "a/b"}, {}, "task", "task", "--task NAME"),
        (
            {"dataset_name": "nlile/hendrycks-MATH-benchmark"},
            {"prompt": None},
            "prompt",
            "prompt",
            "--prompt NAME",
        ),
        ({"dataset_name": "trl-lib/tldr"}, {}, "rewards", "rewards", "write them into the file"),
        ({"reward_funcs": ["tag_count"]}, {}, "rewards", "rewards", "no task has any"),
        ({"loss_type": "cispo"}, {}, "algorithm.loss_type", "cispo", "--set loss_type=X from grpo"),
        ({"optim": "adamw_8bit"}, {}, "algorithm.optimizer", "adamw_8bit", "--set optimizer=X"),
        (
            {"lr_scheduler_type": "cosine_with_min_lr"},
            {},
            "algorithm.lr_scheduler_type",
            "cosine_with_min_lr",
            "constant_with_warmup",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_would_do(
    tmp_path: Path,
    changes: dict[str, Any],
    options: dict[str, Any],
    missing: str,
    source: str,
    advice: str,
) -> None:
    found = draft(trl_file(tmp_path, **{"max_prompt_length": 256} | changes), **options)
    assert missing in found.missing
    told = [line for key, line in found.lost.items() if source in key]
    assert told
    assert any(re.search(advice, line) for line in told), told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"use_peft": True, "lora_r": 16}, "use_peft True"),
        ({"fp16": True}, "fp16 True"),
        ({"torch_dtype": "float16"}, "torch_dtype float16"),
        ({"model_revision": "abc"}, "model_revision abc"),
        ({"repetition_penalty": 1.1}, "repetition_penalty 1.1"),
        ({"sync_ref_model": True}, "sync_ref_model True"),
        ({"importance_sampling_level": "sequence"}, "importance_sampling_level sequence"),
        ({"made_up": 3}, "made_up 3"),
        ({"made_up_token": "hf_abc"}, "made_up_token"),
        ({"steps_per_generation": 8}, "steps_per_generation 8"),
        ({"generation_batch_size": 64}, "generation_batch_size 64"),
        ({"reward_weights": [1, 2]}, "reward_weights"),
        ({"reward_funcs": ["format", "cosine"]}, "reward cosine"),
        ({"reward_funcs": ["accuracy", "equation_reward_func"]}, "reward equation_reward_func"),
        ({"save_steps": 9}, "save_steps 9"),
        ({"save_steps": 500}, "save_steps 500"),
    ],
)
def test_what_is_lost_is_told_and_the_recipe_made(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    found = draft(trl_file(tmp_path, **changes))
    assert list(found.lost) == [told]
    assert not found.missing


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("use_vllm", True, "the plan decides; the wish was True"),
        ("vllm_gpu_memory_utilization", 0.5, "the plan decides"),
        ("steps_per_generation", 2, "the plan decides"),
        ("generation_batch_size", 16, "the plan decides"),
        ("deepspeed", "zero3", "the plan decides; the wish was zero3"),
        ("swanlab", True, "logging: no part of a recipe"),
        ("wandb_project", "x", "logging: no part of a recipe"),
        ("hub_token", "hf_abc", "logging: no part of a recipe"),
        ("seed", 42, "the configuration has `seeds`"),
        ("eval_steps", 5, "evaluation is this project's own"),
        ("num_train_epochs", 1, "max_steps says it"),
        ("min_p", None, "None is how it is done here"),
        ("dataset_id_or_path", "Jiayi-Pan/Countdown-Tasks-3to4", None),
    ],
)
def test_what_is_dropped_has_a_reason(
    tmp_path: Path, key: str, value: Any, reason: str | None
) -> None:
    found = draft(trl_file(tmp_path, **{key: value}))
    # The two names of one thing: the other one is dropped.
    assert found.dropped.get(key) == reason
    assert not found.lost


def test_a_reason_that_is_a_second_name(tmp_path: Path) -> None:
    found = draft(trl_file(tmp_path, dataset_id_or_path="Jiayi-Pan/Countdown-Tasks-3to4"))
    assert found.dropped == {"dataset_name": "dataset_id_or_path says it"}


@pytest.mark.parametrize(
    "name",
    [
        "Qwen/Qwen2.5-3B",
        "qwen/qwen2.5-3b",
        "qwen2.5-3b",
        "/data/models/Qwen2.5-3B",
        "<your path>/Qwen/Qwen2.5-3B/",
        "resources/models/paper/qwen2.5-3b",
    ],
)
def test_a_model_is_known_by_its_name(tmp_path: Path, name: str) -> None:
    found = draft(trl_file(tmp_path, model_name_or_path=name))
    assert found.values["model"] == "qwen2.5-3b"


def test_a_repository_of_someone_else_is_another_model(tmp_path: Path) -> None:
    assert draft(trl_file(tmp_path, model_name_or_path="someone/Qwen2.5-3B")).missing == ["model"]


@pytest.mark.parametrize(
    ("changes", "placement"),
    [
        ({"vllm_mode": "server"}, "server"),
        ({"vllm_mode": "colocate"}, "colocate"),
        ({"vllm_device": "cuda:2"}, "server"),
        ({"vllm_device": "cuda:1"}, "colocate"),  # of two trainers, one has that card
        ({"vllm_device": "auto"}, "server"),
        ({"vllm_device": ""}, "server"),
        ({"use_vllm": True}, "colocate"),
        ({"use_vllm": True, "torch_dtype": "bfloat16"}, "server"),
        ({"use_vllm": False}, None),
        ({}, None),
    ],
)
def test_placement(tmp_path: Path, changes: dict[str, Any], placement: str | None) -> None:
    assert draft(trl_file(tmp_path, **changes)).values.get("placement") == placement


@pytest.mark.parametrize(
    ("before", "device", "placement"),
    [
        ("CUDA_VISIBLE_DEVICES=0", "auto", "colocate"),
        ("CUDA_VISIBLE_DEVICES=0,1,2 NPROC_PER_NODE=2", "auto", "server"),
        ("NPROC_PER_NODE=6", "cuda:6 cuda:7", "server"),
    ],
)
def test_placement_of_swift(tmp_path: Path, before: str, device: str, placement: str) -> None:
    path = swift_file(tmp_path, f"--vllm_device {device}", before)
    found = draft(path, prompt="math_r1", trainers=None)
    assert found.values["placement"] == placement


def test_options_fill_in_names(tmp_path: Path) -> None:
    path = trl_file(tmp_path, model_name_or_path="a/b", dataset_name="c/d")
    found = draft(path, model="qwen2.5-7b", dataset="gsm8k", prompt="gsm8k_mine")
    names = ("model", "dataset", "task", "prompt")
    assert [found.values[name] for name in names] == ["qwen2.5-7b", "gsm8k", "gsm8k", "gsm8k_mine"]
    assert "no such template yet" in found.lost["the text of prompt gsm8k_mine"]


def test_a_task_of_other_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--task: 'math' is not .* \(dataset countdown_3to4 has"):
        draft(trl_file(tmp_path), task="math")


@pytest.mark.parametrize(
    ("names", "weights", "terms"),
    [
        (None, None, [("format", 1.0), ("correct", 1.0)]),
        (["accuracy", "format"], None, [("correct", 1.0), ("format", 1.0)]),
        ("think_format_reward accuracy_reward", [0.5, 2], [("format", 0.5), ("correct", 2.0)]),
        (["r1zero.rewards.countdown.format"], [0.1], [("format", 0.1)]),
    ],
)
def test_rewards(tmp_path: Path, names: Any, weights: Any, terms: list[Any]) -> None:
    found = draft(trl_file(tmp_path, reward_funcs=names, reward_weights=weights))
    assert [tuple(term.values()) for term in found.values["rewards"]] == terms


@pytest.mark.parametrize(
    ("more", "rows", "steps"),
    [
        ("", 1000, 990 // 4),  # one in a hundred is held out
        ("--split_dataset_ratio 0", 1000, 250),
        ("--split_dataset_ratio 0.001", 100, 99 // 4),
        ("--val_dataset x", 1000, 250),
        ("--vllm_mode colocate", 1000, 250),  # no longer held out by default
        ("--num_train_epochs 2.5", 1000, math.ceil(2.5 * 247)),
    ],
)
def test_epochs_become_steps(tmp_path: Path, more: str, rows: int, steps: int) -> None:
    epochs = "--max_steps -1 --num_train_epochs 1 --save_strategy no"
    found = draft(swift_file(tmp_path, f"{epochs} {more}"), rows=rows, prompt="math_r1")
    assert found.values["sizes.max_steps"] == found.values["sizes.save_steps"] == steps


def test_swift_names_of_data_hold_more(tmp_path: Path) -> None:
    path = swift_file(tmp_path, "--dataset hf::AI-MO/NuminaMath-TIR:default#5000")
    found = draft(path, prompt="math_r1")
    assert found.values["dataset"] == "numina_tir"
    assert {"dataset 5000 rows", "dataset subset default"} <= found.lost.keys()


def test_neutral_values_may_be_text(tmp_path: Path) -> None:
    flags = "--repetition_penalty 1 --adam_epsilon 1e-8 --sync_ref_model False --delta none"
    assert not draft(swift_file(tmp_path, flags), prompt="countdown_datawhale").lost


def test_swift_without_a_train_type_is_lora(tmp_path: Path) -> None:
    path = swift_file(tmp_path)
    path.write_text(path.read_text().replace("--train_type full", ""))
    found = draft(path, prompt="math_r1")
    assert found.values["sizes.learning_rate"] == 1e-4
    assert "LoRA" in found.lost["train_type, which is not set"]


def test_swift_of_a_later_release_is_said_to_be(tmp_path: Path) -> None:
    release = draft(swift_file(tmp_path, "--vllm_mode colocate"), prompt="math_r1").release
    assert release
    assert "vllm_mode is of a later release" in release.why


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"save_steps": 0.05}, 5),
        ({"save_strategy": "no"}, 100),
        ({"save_strategy": "epoch"}, 100),
        ({"save_steps": ...}, 100),  # 500, after the end
        ({"save_steps": 24}, 25),
    ],
)
def test_checkpoints(tmp_path: Path, changes: dict[str, Any], steps: int) -> None:
    assert draft(trl_file(tmp_path, **changes)).values["sizes.save_steps"] == steps


@pytest.mark.parametrize(
    ("changes", "length"),
    [
        ({"max_prompt_length": 300}, 300),
        ({"torch_dtype": "auto"}, 512),
        ({}, 1024),
        ({"vllm_max_model_length": 1500, "max_completion_length": 1000}, 500),
        ({"vllm_max_model_length": 1000, "max_completion_length": 1000}, 1024),
    ],
)
def test_lengths_of_prompts(tmp_path: Path, changes: dict[str, Any], length: int) -> None:
    assert draft(trl_file(tmp_path, **changes)).values["sizes.max_prompt_length"] == length


def test_warm_up_in_steps_or_in_a_share(tmp_path: Path) -> None:
    ratios = [
        draft(trl_file(tmp_path, **changes)).values["algorithm.warmup_ratio"]
        for changes in ({}, {"warmup_ratio": 0.1}, {"warmup_steps": 0.2}, {"warmup_steps": 0})
    ]
    assert ratios == [0.0, 0.1, 0.2, 0.0]
    found = draft(trl_file(tmp_path, warmup_steps=14, warmup_ratio=0.5, max_steps=450))
    assert found.values["algorithm.warmup_ratio"] == 0.03


@given(st.integers(1, 5000), st.data())
def test_the_share_gives_the_steps(max_steps: int, data: st.DataObject) -> None:
    warmup = data.draw(st.integers(1, max_steps))
    assert math.ceil(ratio_of(warmup, max_steps) * max_steps) == warmup


@given(st.integers(1, 3000), st.integers(1, 4000))
def test_no_divisor_is_nearer(number: int, wanted: int) -> None:
    found = nearest_divisor(number, wanted)
    assert number % found == 0
    gaps = [max(n / wanted, wanted / n) for n in range(1, number + 1) if number % n == 0]
    assert max(found / wanted, wanted / found) == min(gaps)


def test_choices_go_before_the_files(tmp_path: Path) -> None:
    choices = ("max_steps=80", "save_steps=20", "loss_type=grpo", "epsilon_high=0.3", "top_k=5")
    more = ("prompts_per_step=7", "max_prompt_length=99", "warmup_ratio=0.5", "beta=5e-2")
    found = draft(trl_file(tmp_path, epsilon_high=0.2, beta=0), choices=choices + more)
    for choice in choices + more:
        key, _, value = choice.partition("=")
        [carried] = [v for name, v in found.values.items() if name.endswith(f".{key}")]
        assert str(carried) in {value, str(float(value)) if key == "beta" else value}
    assert not found.missing


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("max_steps", r"--set: 'max_steps' is not KEY=VALUE"),
        ("max_steps=", r"--set: 'max_steps=' is not KEY=VALUE"),
        ("steps=3", r"--set: no recipe has 'steps' \(known: adam_beta1, "),
        ("max_steps=0", r"--set max_steps: '0': Input should be greater than or equal to 1"),
        ("beta=x", r"--set beta: 'x': Input should be a valid number"),
        ("loss_type=x", r"--set loss_type: 'x': Input should be 'grpo', "),
    ],
)
def test_wrong_choices_are_named(tmp_path: Path, choice: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draft(trl_file(tmp_path), choices=(choice,))
