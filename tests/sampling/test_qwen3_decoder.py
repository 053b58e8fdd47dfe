"""The fast decoder draws the tokens that the forward pass of transformers draws."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from r1zero.sampling import sample
from r1zero.sampling.qwen3 import Qwen3, Qwen3Decoder

PAD, VOCABULARY = 0, 60
PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 12, 13], [3, 4, 5], [14, 15], [6], [3, 4, 5]]
# Some rows end early, so that rows are dropped several times.
OPTIONS: dict[str, Any] = {"max_new_tokens": 40, "eos": [5, 7, 11], "pad": PAD}

DECODINGS = [
    pytest.param({"temperature": 1.0}, id="sampled"),
    pytest.param({"temperature": 0.6, "top_k": 7}, id="top_k"),
    pytest.param({"temperature": 1.3, "top_p": 0.8}, id="top_p"),
    pytest.param({"temperature": 0.9, "top_k": 9, "top_p": 0.7}, id="top_k and top_p"),
    pytest.param({"temperature": 0}, id="greedy"),
]
SHAPES = [
    pytest.param({}, id="as many key-value heads"),
    pytest.param({"num_key_value_heads": 2}, id="two key-value heads"),
    pytest.param({"num_key_value_heads": 1}, id="one key-value head"),
    pytest.param({"head_dim": 10, "num_key_value_heads": 2}, id="heads wider than the model"),
    pytest.param({"tie_word_embeddings": False, "num_hidden_layers": 1}, id="untied"),
    pytest.param({"attn_implementation": "sdpa"}, id="sdpa"),
]


def qwen3(**changes: Any) -> Qwen3ForCausalLM:
    """A random model with norms that are not all one."""
    torch.manual_seed(1)
    config = {
        "vocab_size": VOCABULARY,
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 6,
        "intermediate_size": 40,
        "max_position_embeddings": 128,
        "initializer_range": 0.4,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": PAD,
        "attn_implementation": "eager",
    }
    model = Qwen3ForCausalLM(Qwen3Config(**config | changes)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5)
    return model


def drawn(model: Any, seed: int = 0, **decoding: Any) -> list[list[int]]:
    """Completions of all prompts, several times each."""
    torch.manual_seed(seed)
    return sample(model, PROMPTS * 4, **OPTIONS | decoding)


def drawn_by_transformers(model: Any, monkeypatch: pytest.MonkeyPatch, **decoding: Any) -> Any:
    """The same through the forward pass of transformers."""
    with monkeypatch.context() as patch:
        patch.setattr(Qwen3, "of", lambda model: None)
        return drawn(model, **decoding)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("decoding", DECODINGS)
def test_the_same_tokens_are_drawn(
    shape: dict[str, Any], decoding: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = qwen3(**shape)
    assert Qwen3.of(model) is not None
    expected = drawn_by_transformers(model, monkeypatch, **decoding)
    assert len(set(map(len, expected))) > 1
    assert drawn(model, **decoding) == expected


@pytest.mark.parametrize("new", [1, 2])
def test_few_tokens(new: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = qwen3()
    expected = drawn_by_transformers(model, monkeypatch, max_new_tokens=new)
    assert drawn(model, max_new_tokens=new) == expected
    assert max(map(len, expected)) == new


def test_logits_are_those_of_the_whole_sequence() -> None:
    model = qwen3(num_key_value_heads=2)
    with torch.inference_mode():
        plain = Qwen3.of(model)
        assert plain is not None
        decoder = Qwen3Decoder(plain, pad=PAD, max_new_tokens=8)
        logits = decoder.start(PROMPTS)
        rows = [list(prompt) for prompt in PROMPTS]
        for step in range(8):
            for row, found in zip(rows, logits, strict=True):
                expected = model(torch.tensor([row])).logits[0, -1]
                torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
            if step == 3:
                kept = torch.tensor([0, 2, 3, 6])
                decoder.keep(kept)
                rows = [rows[i] for i in kept.tolist()]
            tokens = torch.arange(len(rows)) + step
            rows = [[*row, token] for row, token in zip(rows, tokens.tolist(), strict=True)]
            logits = decoder.step(tokens)


def test_weights_that_have_changed_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = qwen3()
    before = drawn(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    assert drawn(model) == drawn_by_transformers(model, monkeypatch) != before


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_on_disk_is_read_without_transformers(tied: bool, tmp_path: Path) -> None:
    model = qwen3(tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    read = Qwen3.read(tmp_path)
    assert read is not None
    assert drawn(read) == drawn(model)
    qwen3().bfloat16().save_pretrained(tmp_path)
    assert Qwen3.read(tmp_path) is None
    assert Qwen3.read(tmp_path / "nothing") is None


def test_other_models_take_the_forward_pass_of_transformers() -> None:
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32}
    llama = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2)).eval()
    others = [
        llama,
        qwen3().bfloat16(),
        qwen3(attention_bias=True),
        qwen3(hidden_act="gelu"),
        qwen3(use_sliding_window=True, sliding_window=4, max_window_layers=1),
        qwen3(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}),
    ]
    for model in others:
        assert Qwen3.of(model) is None
        assert len(drawn(model, max_new_tokens=3)) == 28
