"""The mini tokenizer: one token for each constant piece, and no text that it changes."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from r1zero.pretrain.traces import countdown
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config

from r1zero.pretrain.base import pieces
from r1zero.pretrain.tokenizer import END, PAD, build_tokenizer
from r1zero.tasks.prompts import load_prompt
from tiny import PROMPT

TEMPLATE = load_prompt(PROMPT).text
PIECES = pieces([load_prompt(PROMPT)], countdown.literals())
TOKENIZER = build_tokenizer(PIECES)


def examples() -> list[str]:
    """Prompts, each with a trace."""
    rng = random.Random(0)
    found = []
    for _ in range(50):
        nums = [rng.randint(1, 99) for _ in range(rng.choice((3, 4)))]
        thought, answer = countdown.search(nums, 50, rng, p_continue=0.8, max_attempts=8)
        prompt = TEMPLATE.format(numbers=nums, target=50)
        found.append(f"{prompt}{thought}</think>\n<answer>{answer}</answer>")
    return found


def back(tokenizer: PreTrainedTokenizerFast, text: str, *, skip: bool = False) -> str:
    return str(tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=skip))


def test_prompts_and_traces_come_back() -> None:
    for text in examples():
        assert back(TOKENIZER, text) == text


@settings(max_examples=300, deadline=None)
@given(st.text() | st.lists(st.sampled_from([*PIECES, "1", "", "\n"]) | st.text()).map("".join))
def test_any_text_comes_back(text: str) -> None:
    assert back(TOKENIZER, text) == text


def test_tags_stay_where_special_tokens_are_left_out() -> None:
    completion = "1+2=3 yes</think>\n<answer>1+2</answer>"
    assert back(TOKENIZER, completion + END, skip=True) == completion


@pytest.mark.parametrize("piece", [*PIECES, END, PAD])
def test_a_piece_is_one_token(piece: str) -> None:
    assert len(TOKENIZER(piece)["input_ids"]) == 1


def test_a_published_prompt_takes_about_twenty_tokens() -> None:
    text = TEMPLATE.format(numbers=[44, 19, 35], target=98)
    assert len(text) > 200
    # Three pieces, two separators, two brackets and eight digits.
    assert len(TOKENIZER(text)["input_ids"]) == 15


def test_tokens_are_numbered_without_gaps() -> None:
    assert sorted(TOKENIZER.get_vocab().values()) == list(range(len(TOKENIZER)))
    assert (TOKENIZER.eos_token, TOKENIZER.pad_token) == (END, PAD)
    assert TOKENIZER.eos_token_id != TOKENIZER.pad_token_id


def test_auto_tokenizer_loads_the_same_beside_a_qwen3_model(tmp_path: Path) -> None:
    """Beside a `qwen2` model AutoTokenizer would build another tokenizer without a word."""
    TOKENIZER.save_pretrained(tmp_path)
    Qwen3Config(vocab_size=len(TOKENIZER)).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert len(loaded) == len(TOKENIZER)
    assert (loaded.eos_token, loaded.pad_token) == (END, PAD)
    for text in [*examples(), " two  spaces ", "a\n\nb\n", "Hello 1+1=2\n", "使用给定的数字 €😀"]:
        assert loaded(text)["input_ids"] == TOKENIZER(text)["input_ids"]
        assert back(loaded, text) == text
