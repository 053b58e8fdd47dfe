"""Decoding steps of a small Qwen3 model on a CPU.

The forward pass of transformers spends most of a decoding step beside the arithmetic: its
`DynamicCache` copies all keys and values for each token, and every projection is a call of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, rms_norm, silu
from transformers import DynamicCache, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from r1zero.sampling.decoders import left_padded


class _Layer(NamedTuple):
    """Weights of a layer; the matrices are `[input, output]`."""

    attention_norm: Tensor
    qkv: Tensor
    qk_norm: Tensor
    """`[h + k, d]`; those of queries hold the scale of the attention."""
    out: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


class Qwen3Decoder:
    """The logits of transformers' Qwen3 up to rounding, from a cache that is written in place.

    Queries, keys and values come from one matrix product, gate and up projection from another.
    Keys and values are kept once for all query heads that share them. The prompts are read by the
    model itself, each distinct one once.

    Shapes: `n` rows, `h` query heads, `k` key-value heads, `d` numbers in a head, `t` tokens in the
    cache. In queries and keys the two numbers that the rotary embedding rotates stand side by side,
    as real and imaginary part, where transformers has them half a head apart.

    Args:
        model: A model that this class `supports`. Its weights are copied.
        pad: Token that fills the rows.
        max_new_tokens: Most tokens that follow a prompt.
    """

    def __init__(self, model: PreTrainedModel, *, pad: int, max_new_tokens: int) -> None:
        config = model.config
        self._model, self._pad, self._max_new_tokens = model, pad, max_new_tokens
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._head_dim, self._epsilon = config.head_dim, config.rms_norm_eps
        # Neighbours are those that are rotated together: 0, d/2, 1, d/2 + 1, ...
        self._pairs = torch.arange(self._head_dim).view(2, -1).T.flatten()
        self._layers = [self._fused(layer) for layer in model.model.layers]

    @staticmethod
    def supports(model: PreTrainedModel) -> bool:
        """Whether this is a plain Qwen3 in float32 on a CPU."""
        config = model.config
        return (
            type(model) is Qwen3ForCausalLM
            and isinstance(config, Qwen3Config)
            and model.device.type == "cpu"
            and all(weight.dtype == torch.float32 for weight in model.parameters())
            and not config.attention_bias
            and config.hidden_act == "silu"
            and config.rope_parameters["rope_type"] == "default"
            and set(config.layer_types) == {"full_attention"}
        )

    def _fused(self, layer: Qwen3DecoderLayer) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        query_norm = attention.q_norm.weight[self._pairs] * attention.scaling
        key_norm = attention.k_norm.weight[self._pairs]
        qkv = [
            self._paired(attention.q_proj.weight),
            self._paired(attention.k_proj.weight),
            attention.v_proj.weight,
        ]
        return _Layer(
            attention_norm=layer.input_layernorm.weight,
            qkv=torch.cat(qkv).T.contiguous(),
            qk_norm=torch.stack([query_norm] * self._heads + [key_norm] * self._kv_heads),
            out=attention.o_proj.weight.T.contiguous(),
            mlp_norm=layer.post_attention_layernorm.weight,
            gate_up=torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).T.contiguous(),
            down=mlp.down_proj.weight.T.contiguous(),
        )

    def _paired(self, weight: Tensor) -> Tensor:
        """Put the outputs `[heads * d, input]` of a projection in the order of `_pairs`."""
        return weight.view(-1, self._head_dim, weight.shape[-1])[:, self._pairs].flatten(0, 1)

    def start(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """See `Decoder`."""
        distinct = {prompt: i for i, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        rows = torch.tensor([distinct[tuple(prompt)] for prompt in prompts])
        ids, mask = left_padded(list(distinct), self._pad, self._model.device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        cache = DynamicCache(config=self._model.config)
        logits: Tensor = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

        self._length = ids.shape[1]  # t
        capacity = self._length + self._max_new_tokens
        self._positions = positions[rows, -1]
        angles = torch.outer(torch.arange(capacity), self._model.model.rotary_emb.inv_freq)
        self._rotations = torch.polar(torch.ones_like(angles), angles)  # [capacity, d / 2]
        self._keys = [
            self._preallocated(layer.keys[..., self._pairs], rows, capacity)
            for layer in cache.layers
        ]
        self._values = [self._preallocated(layer.values, rows, capacity) for layer in cache.layers]
        # Added to the attention's scores, [n * k, 1, capacity].
        self._mask = torch.zeros(len(rows) * self._kv_heads, 1, capacity)
        padding = (mask == 0)[rows].repeat_interleave(self._kv_heads, dim=0)
        self._mask[:, 0, : self._length].masked_fill_(padding, -torch.inf)
        return logits[rows]

    def _preallocated(self, values: Tensor, rows: Tensor, capacity: int) -> Tensor:
        """Copy rows of keys or values `[distinct, k, t, d]` into a cache `[n * k, capacity, d]`."""
        cache = values.new_empty(len(rows) * self._kv_heads, capacity, self._head_dim)
        cache[:, : self._length] = values[rows].flatten(0, 1)
        return cache

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        self._positions = self._positions + 1
        rotations = self._rotations[self._positions][:, None]  # [n, 1, d / 2]
        self._length += 1
        hidden = self._model.model.embed_tokens.weight[tokens]  # [n, hidden]
        for layer, keys, values in zip(self._layers, self._keys, self._values, strict=True):
            normed = self._normed(hidden, layer.attention_norm)
            attended = self._attention(normed @ layer.qkv, layer, keys, values, rotations)
            hidden = torch.addmm(hidden, attended, layer.out)
            gate, up = (self._normed(hidden, layer.mlp_norm) @ layer.gate_up).chunk(2, dim=-1)
            hidden = torch.addmm(hidden, silu(gate) * up, layer.down)
        normed = self._normed(hidden, self._model.model.norm.weight)
        return linear(normed, self._model.lm_head.weight)

    def _normed(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(hidden, hidden.shape[-1:], weight, self._epsilon)

    def _attention(
        self, qkv: Tensor, layer: _Layer, keys: Tensor, values: Tensor, rotations: Tensor
    ) -> Tensor:
        """Attend to the cache after appending to it.

        Args:
            qkv: Queries, keys and values of the new tokens, `[n, (h + 2 k) d]`.
            layer: The layer's weights.
            keys: Its cache of keys, `[n * k, capacity, d]`.
            values: Its cache of values, of the same shape.
            rotations: Rotary embedding of the new tokens, `[n, 1, d / 2]`.

        Returns:
            Outputs of the heads, `[n, h d]`.
        """
        n, h, k, d = len(qkv), self._heads, self._kv_heads, self._head_dim
        qk, new_values = qkv.view(n, h + 2 * k, d).split_with_sizes([h + k, k], dim=1)
        qk = rms_norm(qk, (d,), None, self._epsilon) * layer.qk_norm
        qk = torch.view_as_real(torch.view_as_complex(qk.view(n, h + k, d // 2, 2)) * rotations)
        queries, new_keys = qk.flatten(2).split_with_sizes([h, k], dim=1)
        keys[:, self._length - 1] = new_keys.reshape(n * k, d)
        values[:, self._length - 1] = new_values.reshape(n * k, d)
        queries = queries.reshape(n * k, h // k, d)
        past = slice(0, self._length)
        scores = torch.baddbmm(self._mask[:, :, past], queries, keys[:, past].transpose(1, 2))
        return torch.bmm(scores.softmax(dim=-1), values[:, past]).view(n, h * d)

    def keep(self, rows: Tensor) -> None:
        """See `Decoder`."""
        self._positions = self._positions[rows]
        if self._kv_heads > 1:
            heads = torch.arange(self._kv_heads)
            rows = (rows[:, None] * self._kv_heads + heads).flatten()
        past = slice(0, self._length)
        for caches in (self._keys, self._values):
            for i, cache in enumerate(caches):
                kept = cache[: len(rows)]
                kept[:, past] = cache[rows, past]
                caches[i] = kept
        self._mask = self._mask[rows]
