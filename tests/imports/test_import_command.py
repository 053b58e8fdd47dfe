"""`r1zero import`: a recipe that loads, and a report of what became of each key."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imported import accelerate_file, swift_file, trl_file
from r1zero.errors import UserError
from r1zero.settings import Recipe, load_recipe, resolve_run
from tiny import CONFIG, stage

Import = Callable[..., str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration to import into."""
    shutil.copytree(CONFIG, tmp_path / "config")
    return tmp_path / "config"


@pytest.fixture
def run_import(config: Path) -> Import:
    """Run the command, for the recipe `mine`."""

    def run(*arguments: object, name: str = "mine") -> str:
        return stage("import", *arguments, "--name", name, "--config", config)

    return run


@pytest.fixture
def legacy(shared_data: Path) -> Path:
    """Published files."""
    return shared_data / "legacy"


def sections(report: str) -> dict[str, list[str]]:
    """Entries of the report by their list."""
    found: dict[str, list[str]] = {}
    for line in report.splitlines()[1:]:
        if line.endswith((":", ": nothing")) and not line.startswith(" "):
            found[line.partition(":")[0]] = current = []
        elif line.startswith("  "):
            current.append(line.strip())
    return found


def check(recipe: str, config: Path) -> Recipe:
    """A recipe that loads and runs at paper scale."""
    run = resolve_run(recipe, scale="paper", backend="trl", seed=0, folder=config)
    loaded = load_recipe(recipe, config)
    assert run.sizes == loaded.sizes
    return loaded


@pytest.mark.parametrize("beside", [(), ("datawhale_accelerate_zero3.yaml",)])
def test_the_published_datawhale_files_are_the_recipe(
    legacy: Path, run_import: Import, config: Path, beside: tuple[str, ...]
) -> None:
    report = run_import(legacy / "datawhale_trl_config.yaml", *(legacy / name for name in beside))
    mine, known = check("mine", config), load_recipe("datawhale_r1", config)
    assert (mine.algorithm, mine.sizes) == (known.algorithm, known.sizes)
    assert (mine.rewards, mine.evaluation) == (known.rewards, known.evaluation)
    names = ("task", "model", "dataset", "prompt", "dtype", "placement")
    assert all(getattr(mine, name) == getattr(known, name) for name in names)
    assert mine.sizes.prompts_per_step == 16
    assert mine.algorithm.temperature == 0.9
    assert "read as of TRL 0.14" in report
    assert sections(report)["could not carry"] == []


@pytest.mark.parametrize(
    ("file", "group", "prompts", "placement"),
    [("swift_single_gpu.sh", 2, 8, "colocate"), ("swift_multi_gpu.sh", 7, 16, "server")],
)
def test_the_published_swift_commands(
    legacy: Path,
    run_import: Import,
    config: Path,
    file: str,
    group: int,
    prompts: int,
    placement: str,
) -> None:
    report = run_import(legacy / file, "--rows", 72441, "--prompt", "math_r1")
    mine = check("mine", config)
    assert (mine.model, mine.dataset, mine.task) == ("qwen2.5-math-7b", "numina_tir", "math")
    assert [reward.name for reward in mine.rewards] == ["correct", "format"]
    assert mine.placement == placement
    assert (mine.algorithm.num_generations, mine.sizes.prompts_per_step) == (group, prompts)
    assert (mine.algorithm.beta, mine.algorithm.temperature) == (0.04, 0.9)
    assert (mine.algorithm.loss_type, mine.algorithm.weight_decay) == ("bnpo", 0.1)
    assert mine.sizes.max_steps == (72441 - 724) // prompts
    assert mine.sizes.learning_rate == 2e-5
    lost = sections(report)["could not carry"]
    assert [line.partition(" ")[0] for line in lost] == ["the", "save_steps", "system"]


def test_each_key_of_the_recipe_has_its_origin_beside_it(
    tmp_path: Path, run_import: Import, config: Path
) -> None:
    run_import(trl_file(tmp_path, made_up=1), accelerate_file(tmp_path))
    lines = (config / "recipes" / "mine.yaml").read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=../schema/recipe.schema.json"
    assert all(len(line) <= 100 for line in lines)
    text = "\n".join(lines)
    assert "# - made_up 1: no recipe can have it" in text
    assert "  max_steps: 100                         # trl.yaml: max_steps" in text
    assert "  beta: 0.0                              # not set; default of TRL 1.16" in text
    start = next(n for n, line in enumerate(lines) if line.startswith("task:"))
    keys = [n for n, line in enumerate(lines) if n >= start and not line.startswith(("#", "  -"))]
    for number in keys:
        line = lines[number].strip()
        if (
            line
            and not line.startswith("#")
            and line not in {"algorithm:", "sizes:", "evaluation:"}
        ):
            assert "#" in line or lines[number - 1].strip().startswith("#"), line


def test_every_published_key_is_in_the_report(tmp_path: Path, run_import: Import) -> None:
    silent = {"epsilon_high": None, "warmup_steps": 0, "max_length": None, "save_strategy": "steps"}
    more = {"swanlab": True, "vllm_device": "cuda:2", "torch_dtype": "auto", "odd": 1, "beta": None}
    path = trl_file(tmp_path, split_dataset_ratio=0.1, num_train_epochs=1, **silent, **more)
    report = run_import(path, accelerate_file(tmp_path, 8))
    words = set(report.replace(":", " ").split())
    assert yaml.safe_load(path.read_text()).keys() <= words
    assert "the wish was num_processes 8" in report


def test_secrets_are_not_shown(tmp_path: Path, run_import: Import, config: Path) -> None:
    before = "export WANDB_API_KEY=verysecret\n"
    flags = "--hub_token verysecret --my_token verysecret"
    report = run_import(swift_file(tmp_path, flags, before), "--prompt", "math_r1")
    assert "verysecret" not in report + (config / "recipes" / "mine.yaml").read_text()
    assert "my_token" in report


def test_nothing_is_written_for_want_of_a_value(
    tmp_path: Path, run_import: Import, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted((config / "recipes").iterdir())
    message = r"trl.yaml: nothing was written, for want of model, sizes.prompts_per_step \(see"
    with pytest.raises(UserError, match=message):
        run_import(trl_file(tmp_path, model_name_or_path="a/b"))
    assert sorted((config / "recipes").iterdir()) == before


def test_nothing_is_written_of_a_value_that_no_recipe_takes(
    tmp_path: Path, run_import: Import, config: Path
) -> None:
    path = trl_file(tmp_path, temperature=0)
    with pytest.raises(
        UserError, match=r"trl.yaml: algorithm.temperature: Input should be greater"
    ):
        run_import(path, "--trainers", 2)
    assert not (config / "recipes" / "mine.yaml").exists()


def test_a_recipe_that_is_there_stays_unless_forced(
    tmp_path: Path, run_import: Import, config: Path
) -> None:
    path, there = trl_file(tmp_path), config / "recipes" / "datawhale_r1.yaml"
    before = there.read_bytes()
    with pytest.raises(UserError, match=r"datawhale_r1.yaml: is there already \(--force"):
        run_import(path, "--trainers", 2, name="datawhale_r1")
    assert there.read_bytes() == before
    run_import(path, "--trainers", 2, "--force", name="datawhale_r1")
    assert load_recipe("datawhale_r1", config).sizes.max_steps == 100


def test_it_goes_where_it_is_told(tmp_path: Path, run_import: Import, config: Path) -> None:
    out = tmp_path / "new" / "other.yaml"
    options = ("--trainers", 2, "--out", out, "--source", "https://example.org/#x: y")
    run_import(trl_file(tmp_path), *options)
    assert yaml.safe_load(out.read_text())["source"] == "https://example.org/#x: y"
    assert not (config / "recipes" / "mine.yaml").exists()


@pytest.mark.parametrize("name", ["Mine", "1x", "a-b", "../x"])
def test_a_name_must_be_one(tmp_path: Path, run_import: Import, name: str) -> None:
    with pytest.raises(UserError, match=r"--name: '.*' can't name a recipe \(small letters"):
        run_import(trl_file(tmp_path), name=name)


def test_files_that_are_no_run_are_refused(tmp_path: Path, run_import: Import) -> None:
    one, two = trl_file(tmp_path), trl_file(tmp_path, "two.yaml")
    beside = accelerate_file(tmp_path)
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "bad.yaml").write_text("a: [\n")
    (tmp_path / "bytes.sh").write_bytes(b"\xff\xfe")
    (tmp_path / "none_train").mkdir()
    wrong = accelerate_file(tmp_path / "none_train", 0)
    for paths, message in [
        ((one, two), r"import: 2 of the files have settings of a run: .*one TRL YAML or one"),
        ((beside,), r"import: 0 of the files have settings of a run \(give"),
        ((tmp_path / "list.yaml",), r"list.yaml: holds no settings \(known are YAML"),
        ((tmp_path / "bad.yaml",), r"bad.yaml: not valid YAML"),
        ((tmp_path / "none.yaml",), r"none.yaml: no such file"),
        ((tmp_path / "none.sh",), r"none.sh: no such file"),
        ((tmp_path / "bytes.sh",), r"bytes.sh: is not text in UTF-8"),
        ((wrong, one), r"accelerate.yaml: num_processes: 0 is less than 1"),
    ]:
        with pytest.raises(UserError, match=message):
            run_import(*paths)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--rlhf_type dpo", r"run.sh: rlhf_type is dpo \(only grpo can be imported\)"),
        ("--dataset a/b c/d", r"run.sh: dataset: names 2: a/b, c/d \(a recipe has one"),
    ],
)
def test_swift_commands_that_no_recipe_takes(
    tmp_path: Path, run_import: Import, flags: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_import(swift_file(tmp_path, flags))


def test_a_release_of_trl_goes_with_trl(tmp_path: Path, run_import: Import) -> None:
    with pytest.raises(UserError, match=r"--trl-version: .*run.sh is of ms-swift"):
        run_import(swift_file(tmp_path), "--trl-version", "0.15")


# As `plan.render` writes the recipe datawhale_r1 for four GPUs.
RENDERED = {
    "model_name_or_path": "resources/models/qwen2.5-3b-instruct",
    "dtype": "bfloat16",
    "attn_implementation": "sdpa",
    "dataset_name": "resources/tasks/countdown_3to4/problems",
    "dataset_train_split": "train",
    "reward_funcs": ["r1zero.rewards.countdown.format", "r1zero.rewards.countdown.correct"],
    "reward_weights": [1.0, 1.0],
    "output_dir": "checkpoints",
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 16,
    "steps_per_generation": 16,
    "num_generations": 8,
    "shuffle_dataset": True,
    "dataloader_num_workers": 0,
    "loss_type": "grpo",
    "scale_rewards": "group",
    "beta": 0.001,
    "num_iterations": 1,
    "epsilon": 0.2,
    "epsilon_high": None,
    "importance_sampling_level": "token",
    "mask_truncated_completions": False,
    "sync_ref_model": False,
    "disable_dropout": False,
    "optim": "adamw_torch",
    "learning_rate": 5e-07,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 14,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-08,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "max_steps": 450,
    "seed": 0,
    "temperature": 0.9,
    "top_p": 1.0,
    "top_k": 0,
    "repetition_penalty": 1.0,
    "max_completion_length": 4096,
    "use_vllm": True,
    "use_cpu": False,
    "bf16": True,
    "gradient_checkpointing": True,
    "vllm_mode": "colocate",
    "vllm_gpu_memory_utilization": 0.4,
    "vllm_enable_sleep_mode": True,
    "vllm_max_model_length": 4352,
    "vllm_importance_sampling_correction": True,
    "vllm_importance_sampling_mode": "sequence_mask",
    "vllm_importance_sampling_clip_max": 3.0,
    "logging_steps": 1,
    "logging_first_step": True,
    "save_strategy": "steps",
    "save_steps": 50,
    "save_only_model": False,
    "eval_strategy": "no",
    "report_to": "none",
    "log_completions": False,
    "disable_tqdm": True,
}


def test_what_this_project_renders_comes_back(
    tmp_path: Path, run_import: Import, config: Path
) -> None:
    """The files that it writes for TRL, read back."""
    path = tmp_path / "trl.yaml"
    path.write_text(yaml.safe_dump(RENDERED))
    beside = accelerate_file(tmp_path, 4)
    report = run_import(path, beside, "--dataset", "countdown_3to4")
    mine, known = check("mine", config), load_recipe("datawhale_r1", config)
    assert (mine.algorithm, mine.sizes) == (known.algorithm, known.sizes)
    assert (mine.rewards, mine.model) == (known.rewards, known.model)
    assert sections(report)["could not carry"] == []


HYPER: dict[str, st.SearchStrategy[Any]] = {
    "beta": st.floats(0, 1),
    "learning_rate": st.floats(1e-9, 1),
    "temperature": st.floats(0.01, 2),
    "top_p": st.floats(0.01, 1),
    "weight_decay": st.floats(0, 1),
    "warmup_ratio": st.floats(0, 0.99),
    "max_completion_length": st.integers(1, 10**6),
    "num_iterations": st.integers(1, 9),
    "loss_type": st.sampled_from(["grpo", "dr_grpo", "dapo", "bnpo"]),
    "scale_rewards": st.sampled_from(["group", "batch", "none"]),
}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.fixed_dictionaries({}, optional=HYPER))
def test_any_numbers_come_back_from_the_file(
    tmp_path: Path, run_import: Import, config: Path, published: dict[str, Any]
) -> None:
    run_import(trl_file(tmp_path, **published), "--trainers", 2, "--force")
    recipe = check("mine", config)
    found = recipe.algorithm.model_dump() | recipe.sizes.model_dump()
    assert {key: found[key] for key in published} == published
