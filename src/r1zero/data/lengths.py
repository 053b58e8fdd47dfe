"""Select prompts by their length in tokens of a run's model."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from r1zero.core.errors import UserError


def token_lengths(prompts: Sequence[str], model: Path) -> list[int]:
    """Lengths of prompts in tokens of a model's `tokenizer.json`."""
    from tokenizers import Tokenizer

    path = model / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            "no such file",
            where=str(path),
            hint="AutoTokenizer.from_pretrained(...).save_pretrained(...) writes it",
        )
    encoded = Tokenizer.from_file(str(path)).encode_batch_fast(list(prompts))
    return [len(encoding.ids) for encoding in encoded]


def fitting(problems: pl.DataFrame, model: Path, longest: int) -> pl.DataFrame:
    """The problems whose prompts have at most `longest` tokens; raises `UserError` if none has.

    TRL truncates no prompt since 0.28: a prompt that is too long would silently exceed the context.
    """
    lengths = token_lengths(problems["prompt"].to_list(), model)
    kept = problems.filter(pl.Series([length <= longest for length in lengths], dtype=pl.Boolean))
    if kept.is_empty():
        raise UserError(
            f"all {len(problems)} prompts are longer than {longest} tokens; the shortest has "
            f"{min(lengths)}",
            where="sizes.max_prompt_length",
        )
    return kept
