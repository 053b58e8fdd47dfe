"""Prompts are the published ones, as the published model's chat template renders them."""

import hashlib
import json
import re
from pathlib import Path
from string import Formatter

import jinja2
import pytest

from r1zero.core.errors import UserError
from r1zero.data.problems import check_fields
from r1zero.settings import load_recipe, recipe_names
from r1zero.tasks.prompts import literals, load_prompt, prompt_names
from r1zero.tasks.registry import TASKS
from tiny import CONFIG

Message = dict[str, str]

NAMES = prompt_names()
# What the fields of a template may be, by the start of its name.
ROWS = {"countdown": "countdown", "question": "math", "post": "tldr"}
VALUES = {"numbers": [44, 19, 35], "target": 98, "question": "What is {1} + 1?", "post": "TL;DR:"}


def say(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def system(content: str) -> Message:
    return say("system", content)


def user(content: str) -> Message:
    return say("user", content)


STEP_BY_STEP = say("assistant", "Let me solve this step by step.\n<think>")
BOXED = r"Please reason step by step, and put your final answer within \boxed{{}}."
EQUATION = (
    "Using the numbers {numbers}, create an equation that equals {target}. You can use basic "
    "arithmetic operations (+, -, *, /) "
)

# The conversations that the publishers hand to the chat template.
CHATS: dict[str, list[Message]] = {
    # generate_r1_prompt of Datawhale-R1/train_Datawhale-R1.py.
    "countdown_datawhale": [
        user(
            "使用给定的数字 {numbers}，创建一个等于 {target} 的方程。你可以使用基本算术运算"
            "（+、-、*、/）一次或多次，但每个数字只能使用一次。在 <think> </think> 标签中展示"
            "你的思考过程，并在 <answer> </answer> 标签中返回最终方程，"
            "例如 <answer> (1 + 2) / 3 </answer>。"
            "在 <think> 标签中逐步思考。"
        ),
        say("assistant", "让我们逐步解决这个问题。\n<think>"),
    ],
    # generate_r1_prompt of philschmid's training/scripts/run_r1_grpo.py.
    "countdown_mini_r1": [
        system(
            "You are a helpful assistant. You first thinks about the reasoning process in the "
            "mind and then provides the user with the answer."
        ),
        user(
            EQUATION + "one or multiple times but each number can only be used once. Show your "
            "work in <think> </think> tags. And return the final equation in <answer> </answer> "
            "tags, for example <answer> (1 + 2) / 3 </answer>. Think step by step inside <think> "
            "tags."
        ),
        STEP_BY_STEP,
    ],
    # SYSTEM_MESSAGE and PROMPT_TEMPLATE of nano-aha-moment.
    "countdown_nano_aha": [
        system(
            "You are a helpful assistant. You first think about the reasoning process in the mind "
            "and then provide the user with the answer."
        ),
        user(
            EQUATION + "and each number can only be used once. Show your work in <think> </think> "
            "tags. And return the final equation and answer in <answer> </answer> tags, for "
            "example <answer>(1 + 2) / (3 * 5)</answer>."
        ),
        STEP_BY_STEP,
    ],
    # DAPO-Math-17k, between the system message of the base model's chat template and its answer.
    "question_dapo": [
        system("You are a helpful assistant."),
        user(
            "Solve the following math problem step by step. The last line of your response should "
            "be of the form Answer: $Answer (without quotes) where $Answer is the answer to the "
            "problem.\n\n{question}\n\nRemember to put your answer on its own line after "
            '"Answer:".'
        ),
    ],
    # SYSTEM_PROMPT of grpo_demo.py, with the tags that the graders know.
    "question_grpo_demo": [
        system(
            "\nRespond in the following format:\n\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n"
            "</answer>\n".replace("reasoning>", "think>")
        ),
        user("{question}"),
    ],
    "question_qwen_boxed": [
        system("You are a helpful assistant."),
        user("{question}\n" + BOXED),
    ],
    "question_qwen_math": [system(BOXED), user("{question}")],
    "question_r1zero": [user("{question}\n" + BOXED)],
    # system_prompt of simple_GRPO's grpo_vllm_one.py, a string that goes on after a backslash.
    "question_simple_grpo": [
        system(
            """You are a helpful assistant. A conversation between User and Assistant. \
The user asks a question, and the Assistant solves it. The Assistant first thinks about the \
reasoning process in the mind and then provides the user with the answer.\
    The reasoning process and answer are enclosed within <think> </think> and<answer> </answer> \
tags, respectively, i.e., <think> reasoning process here </think><answer> answer here </answer>."""
        ),
        user("{question}"),
    ],
    # The content of ms-swift's examples/train/grpo/prompt.txt.
    "question_swift": [
        system(
            "A conversation between User and Assistant. The user asks a question, and the "
            "Assistant solves it. The assistant first thinks about the reasoning process in the "
            "mind and then provides the user with the answer. The reasoning process and answer "
            "are enclosed within <think> </think> and <answer> </answer> tags, respectively, "
            "i.e., <think> reasoning process here </think><answer> answer here </answer>\n"
        ),
        user("{question}"),
    ],
}

# The start of the SHA-256 of each text, at the version it has. A recipe's results are of a text: a
# changed one wants a new version, and then another line here.
TEXTS = {
    "countdown_datawhale": (1, "210b4a522ae92430"),
    "countdown_mini_r1": (1, "8c6956cdbe4d3f34"),
    "countdown_nano_aha": (1, "5d151334ffc18e45"),
    "countdown_tinyzero": (1, "faec4c14764dad25"),
    "post_plain": (1, "12a1252649fa0616"),
    "question_abel": (1, "017d894cae84b14f"),
    "question_dapo": (1, "527cfc78713a31f4"),
    "question_grpo_demo": (1, "19fbed19ceec704b"),
    "question_none": (1, "bf085a6e12c9d0e2"),
    "question_qwen_boxed": (1, "7090d0a65933ab11"),
    "question_qwen_math": (1, "c2ef90908e017709"),
    "question_r1": (1, "56213732da87e12a"),
    "question_r1zero": (1, "3bfb8753af761764"),
    "question_simple_grpo": (1, "074bcf3a31d36119"),
    "question_swift": (1, "41319a743831a989"),
}


def render(name: str, **changes: object) -> str:
    """A prompt as the model reads it."""
    text = load_prompt(name).text
    fields = {field for _, field, *_ in Formatter().parse(text) if field}
    values = {**VALUES, **changes}
    return text.format(**{field: values[field] for field in fields})


def conversation(template: str, messages: list[Message]) -> str:
    """Render a conversation: an assistant's last message stays open, else its turn begins."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    last = messages[-1]
    open_turn = last["role"] == "assistant"
    rendered = environment.from_string(template).render(
        messages=messages, tools=None, add_generation_prompt=not open_turn
    )
    if not open_turn:
        return rendered
    content = last["content"].strip()
    return rendered[: rendered.rindex(content) + len(content)]


@pytest.mark.parametrize("name", CHATS)
def test_chat_prompts_are_what_the_chat_template_of_qwen_gives(
    name: str, shared_data: Path
) -> None:
    template = (shared_data / "tokenizer_qwen2.5" / "chat_template.jinja").read_text()
    assert load_prompt(name).text == conversation(template, CHATS[name])


@pytest.mark.parametrize("name", NAMES)
def test_chat_prompts_end_with_the_turn_and_others_with_the_text(name: str) -> None:
    prompt = load_prompt(name)
    chat = "<|im_start|>" in prompt.text
    assert chat == (name in CHATS)
    assert prompt.stop_tokens == (["<|im_end|>"] if chat else [])


def test_the_prompt_of_tinyzero_is_that_of_its_own_rows(shared_data: Path) -> None:
    path = shared_data / "countdown" / "tinyzero_verl_row_example.json"
    row = json.loads(path.read_text())
    rendered = render("countdown_tinyzero", numbers=row["nums"], target=row["target"])
    assert rendered == row["prompt"][0]["content"]


def test_prompts_without_a_template_are_the_row_itself() -> None:
    assert render("question_none") == VALUES["question"]
    assert render("post_plain") == VALUES["post"]


def test_a_changed_text_has_a_new_version() -> None:
    found = {
        name: (prompt.version, hashlib.sha256(prompt.text.encode()).hexdigest()[:16])
        for name, prompt in ((name, load_prompt(name)) for name in NAMES)
    }
    assert found == TEXTS


@pytest.mark.parametrize("recipe", recipe_names(CONFIG))
def test_every_recipe_names_a_prompt_that_can_show_its_rows(recipe: str) -> None:
    found = load_recipe(recipe, CONFIG)
    check_fields(found.prompt, load_prompt(found.prompt).text, TASKS[found.task].fields)


@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_shows_all_fields_of_its_rows(name: str) -> None:
    fields = TASKS[ROWS[name.partition("_")[0]]].fields
    rendered = render(name)
    for field in fields:
        assert str(VALUES[field]) in rendered
    # What is doubled for str.format is single for the model; a row's own braces stay as they are.
    without_rows = re.sub(re.escape(str(VALUES["question"])), "", rendered)
    assert without_rows.replace(r"\boxed{}", "").count("{") == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_asks_for_the_format_it_is_graded_by(name: str) -> None:
    prompt, rendered = load_prompt(name), render(name)
    if prompt.thought == "prefilled":
        assert rendered.endswith("<think>")
    if prompt.thought == "generated":
        assert "<think>" in rendered
        assert not rendered.rstrip().endswith("<think>")
    marks = {"tags": "<answer>", "boxed": r"\boxed{}", "line": "Answer:", "free": ""}
    # Given a bare question, Qwen2.5-Math boxes its answer unasked; abel, with which small models
    # were trained, asks for no format.
    assert name in ("question_none", "question_abel") or marks[prompt.answer] in rendered


@pytest.mark.parametrize("name", NAMES)
def test_literals_are_the_text_between_the_fields(name: str) -> None:
    template = load_prompt(name).text
    values = {field: "\0" for _, field, *_ in Formatter().parse(template) if field}
    pieces = [piece for piece in template.format(**values).split("\0") if piece]
    assert "".join(literals(template)) == "".join(pieces)


def test_an_unknown_prompt_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(UserError) as raised:
        load_prompt("nope")
    assert str(raised.value) == (
        f"prompt: unknown prompt 'nope' (there are: {', '.join(prompt_names())})"
    )
