"""Prompts that a run has no room for."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from r1zero.core.errors import UserError
from r1zero.data.lengths import fitting, token_lengths


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tokenizer that has a token for each word."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@given(lengths=st.lists(st.integers(1, 30), min_size=1), longest=st.integers(1, 30))
def test_a_prompt_stays_if_it_fits(model: Path, lengths: list[int], longest: int) -> None:
    problems = pl.DataFrame({"prompt": ["a " * n for n in lengths], "n": lengths})
    kept = [n for n in lengths if n <= longest]
    assert token_lengths(problems["prompt"].to_list(), model) == lengths
    if kept:
        assert fitting(problems, model, longest)["n"].to_list() == kept
    else:
        with pytest.raises(UserError, match=f"the shortest has {min(lengths)}"):
            fitting(problems, model, longest)


def test_a_model_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.json: no such file"):
        token_lengths(["a"], tmp_path)
