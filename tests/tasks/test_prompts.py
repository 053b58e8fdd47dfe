"""Prompts are the published ones, as the published model's chat template renders them."""

from pathlib import Path

import jinja2
import pytest

from r1zero.errors import UserError
from r1zero.settings import load_recipe, recipe_names
from r1zero.tasks.prompts import literals, load_prompt, prompt_names
from tiny import CONFIG

# generate_r1_prompt of Datawhale-R1/train_Datawhale-R1.py.
DATAWHALE = [
    {
        "role": "user",
        "content": "使用给定的数字 {numbers}，创建一个等于 {target} 的方程。你可以使用基本算术运算"
        "（+、-、*、/）一次或多次，但每个数字只能使用一次。在 <think> </think> 标签中展示"
        "你的思考过程，并在 <answer> </answer> 标签中返回最终方程，"
        "例如 <answer> (1 + 2) / 3 </answer>。"
        "在 <think> 标签中逐步思考。",
    },
    {"role": "assistant", "content": "让我们逐步解决这个问题。\n<think>"},
]


def continued(template: str, messages: list[dict[str, str]]) -> str:
    """Render a conversation and leave its last message open (`continue_final_message=True`)."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    rendered = environment.from_string(template).render(
        messages=messages, tools=None, add_generation_prompt=False
    )
    last = messages[-1]["content"].strip()
    return rendered[: rendered.rindex(last) + len(last)]


def test_datawhale_prompt_is_what_the_chat_template_of_qwen_gives(shared_data: Path) -> None:
    template = (shared_data / "tokenizer_qwen2.5" / "chat_template.jinja").read_text()
    assert load_prompt("countdown_datawhale").text == continued(template, DATAWHALE)


@pytest.mark.parametrize("recipe", recipe_names(CONFIG))
def test_every_recipe_names_a_prompt(recipe: str) -> None:
    assert load_recipe(recipe, CONFIG).prompt in prompt_names()


@pytest.mark.parametrize("name", [name for name in prompt_names() if name.startswith("countdown")])
def test_countdown_prompts_have_numbers_target_and_an_open_thought(name: str) -> None:
    text = load_prompt(name).text.format(numbers=[44, 19, 35], target=98)
    assert "[44, 19, 35]" in text
    assert "98" in text
    assert text.endswith("<think>")
    assert "{" not in text


@pytest.mark.parametrize("name", prompt_names())
def test_literals_are_the_text_between_the_fields(name: str) -> None:
    template = load_prompt(name).text
    position = 0
    for piece in literals(template):
        assert piece
        position = template.index(piece, position) + len(piece)
    assert position == len(template)


def test_an_unknown_prompt_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(UserError) as raised:
        load_prompt("nope")
    assert str(raised.value) == (
        f"prompt: unknown prompt 'nope' (there are: {', '.join(prompt_names())})"
    )
