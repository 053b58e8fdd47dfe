"""A tiny random model with a tokenizer, which needs no pre-training."""

from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from r1zero.pretrain.tokenizer import build_tokenizer


def save_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write a model whose weights depend on the seed, and return its folder."""
    tokenizer = build_tokenizer(["<think>", "</think>", "<answer>", "</answer>"])
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=32,
        max_position_embeddings=256,
        initializer_range=0.3,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
