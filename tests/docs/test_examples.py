"""Examples and tables of the documentation are true of the code."""

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from r1zero.cli import app
from r1zero.rewards.functions import known_reward_functions
from r1zero.settings import load_recipe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration with the recipes of docs/recipes.md in it."""
    folder = tmp_path_factory.mktemp("docs") / "config"
    shutil.copytree(ROOT / "config", folder)
    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    pattern = r"^```yaml\n# config/(recipes/\w+\.yaml)\n(.*?)^```"
    for name, text in re.findall(pattern, page, flags=re.S | re.M):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "gpus", "completions", "epoch"),
    [("my_gsm8k", 8, 16 * 7 * 4, 7473 // 56), ("my_countdown", 3, 8 * 2 * 8, 50_000 // 16)],
)
def test_worked_recipes_load_and_have_a_plan(
    config: Path, name: str, gpus: int, completions: int, epoch: int
) -> None:
    recipe = load_recipe(name, config)
    assert recipe.sizes.prompts_per_step * recipe.algorithm.num_generations == completions
    assert recipe.sizes.max_steps == epoch
    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    command = f"plan {name} --scale paper --gpus {gpus} --gpu a100-80g"
    assert f"`python -m r1zero {command}`" in page
    result = CliRunner().invoke(app, [*command.split(), "--config", str(config)])
    assert result.exit_code == 0, result.output
    assert f"= {completions} completions" in result.output


def test_the_table_of_reward_functions_is_complete() -> None:
    page = (ROOT / "docs/rewards.md").read_text(encoding="utf-8")
    table = page.partition("\n## Reward functions\n")[2]
    for name, options in known_reward_functions().items():
        row = next(line for line in table.splitlines() if line.startswith(f"| `{name}` |"))
        told = row.rpartition(" | ")[2]
        for option, default in options.items():
            value = "required" if default is ... else str(default).lower()
            assert re.search(rf"`{option}`,? {re.escape(value)}\b", told), (name, option, default)
