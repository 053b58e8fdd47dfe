"""Decoding with a small Qwen3 model on a CPU, without transformers.

The forward pass of transformers spends most of a decoding step beside the arithmetic: its
`DynamicCache` copies all keys and values for each token, and every projection is a call of its own.
Its modules also take seconds to import, which an evaluation of a mini model has not to spare.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import linear, rms_norm, silu

from r1zero.sampling.decoders import left_padded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_OF_A_LAYER = (
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.q_norm",
    "self_attn.k_norm",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


class Qwen3(NamedTuple):
    """A plain Qwen3 in float32 on a CPU."""

    config: Mapping[str, Any]
    """Its `config.json`."""
    weights: Mapping[str, Tensor]
    """Its weights, by their names in transformers."""

    @classmethod
    def of(cls, model: "PreTrainedModel") -> Self | None:
        """The live weights of a model; None unless it is a plain Qwen3 in float32 on a CPU."""
        if type(model).__name__ != "Qwen3ForCausalLM":
            return None
        return cls._plain(model.config.to_dict(), dict(model.named_parameters()))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """A model on disk; None unless it is a plain Qwen3 in one file, in float32."""
        from safetensors.torch import load_file

        file = folder / "model.safetensors"
        if not file.is_file():
            return None
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return cls._plain(config, load_file(file))

    @classmethod
    def _plain(cls, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Self | None:
        names = {"model.embed_tokens.weight", "model.norm.weight"}
        if not config.get("tie_word_embeddings"):
            names.add("lm_head.weight")
        for layer in range(config["num_hidden_layers"]):
            names |= {f"model.layers.{layer}.{name}.weight" for name in _OF_A_LAYER}
        rotary = config.get("rope_parameters") or {}
        is_plain = (
            config.get("model_type") == "qwen3"
            and config.get("hidden_act") == "silu"
            and rotary.get("rope_type") == "default"
            and set(config.get("layer_types", ())) == {"full_attention"}
            and set(weights) == names
            and all(w.dtype == torch.float32 and w.device.type == "cpu" for w in weights.values())
        )
        return cls(config, weights) if is_plain else None


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
    Keys and values are kept once for all query heads that share them. Each distinct prompt is read
    once.

    Shapes: `n` rows of `t` new tokens, `h` query heads, `k` key-value heads, `d` numbers in a head.
    In queries and keys the two numbers that the rotary embedding rotates stand side by side, as
    real and imaginary part, where transformers has them half a head apart.

    Args:
        model: The model. Its weights are copied.
        pad: Token that fills the rows.
        max_new_tokens: Most tokens that follow a prompt.
    """

    def __init__(self, model: Qwen3, *, pad: int, max_new_tokens: int) -> None:
        config, weights = model
        self._pad, self._max_new_tokens = pad, max_new_tokens
        self._heads, self._kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self._head_dim, self._epsilon = config["head_dim"], config["rms_norm_eps"]
        self._embeddings = weights["model.embed_tokens.weight"]
        self._layers = [
            self._fused(weights, f"model.layers.{i}.") for i in range(config["num_hidden_layers"])
        ]
        self._norm = weights["model.norm.weight"]
        self._head = weights.get("lm_head.weight", self._embeddings)
        exponents = torch.arange(0, self._head_dim, 2).float() / self._head_dim
        self._frequencies = 1.0 / config["rope_parameters"]["rope_theta"] ** exponents

    def _fused(self, weights: Mapping[str, Tensor], prefix: str) -> _Layer:
        """The weights of the layer whose names begin with `prefix`."""
        (
            attention_norm,
            queries,
            keys,
            values,
            query_norm,
            key_norm,
            out,
            mlp_norm,
            gate,
            up,
            down,
        ) = (weights[f"{prefix}{name}.weight"] for name in _OF_A_LAYER)
        # Neighbours are those that are rotated together: 0, d/2, 1, d/2 + 1, ...
        pairs = torch.arange(self._head_dim).view(2, -1).T.flatten()
        queries, keys = (
            weight.view(-1, self._head_dim, weight.shape[-1])[:, pairs].flatten(0, 1)
            for weight in (queries, keys)
        )
        query_norm = query_norm[pairs] * self._head_dim**-0.5
        return _Layer(
            attention_norm,
            qkv=torch.cat([queries, keys, values]).T.contiguous(),
            qk_norm=torch.stack([query_norm] * self._heads + [key_norm[pairs]] * self._kv_heads),
            out=out.T.contiguous(),
            mlp_norm=mlp_norm,
            gate_up=torch.cat([gate, up]).T.contiguous(),
            down=down.T.contiguous(),
        )

    def start(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """See `Decoder`."""
        distinct = {prompt: i for i, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        ids, attended = left_padded(list(distinct), self._pad, self._embeddings.device)
        n, length = ids.shape
        capacity = length + self._max_new_tokens
        angles = torch.outer(torch.arange(capacity), self._frequencies)
        self._rotations = torch.polar(torch.ones_like(angles), angles)  # [capacity, d / 2]
        self._positions = (attended.cumsum(dim=1) - 1).clamp(min=0)
        self._length = length
        self._keys = [
            self._embeddings.new_empty(n * self._kv_heads, length, self._head_dim)
            for _ in self._layers
        ]
        self._values = [torch.empty_like(keys) for keys in self._keys]
        # A token of padding attends to itself, because it has to attend to something.
        visible = torch.ones(length, length, dtype=torch.bool).tril() & (attended == 1)[:, None]
        visible |= torch.eye(length, dtype=torch.bool)
        shared = self._heads // self._kv_heads
        mask = torch.zeros(n, length, length).masked_fill(~visible, -torch.inf)
        mask = mask.repeat_interleave(shared, dim=1).repeat_interleave(self._kv_heads, dim=0)
        logits = self._logits(ids, mask)

        rows = torch.tensor([distinct[tuple(prompt)] for prompt in prompts])
        self._positions = self._positions[rows, -1:]
        heads = self._heads_of(rows)
        for caches in (self._keys, self._values):
            for i, cache in enumerate(caches):
                caches[i] = cache.new_empty(len(heads), capacity, self._head_dim)
                caches[i][:, :length] = cache[heads]
        self._mask = torch.zeros(len(heads), 1, capacity)  # added to the attention's scores
        hidden = (attended == 0)[rows].repeat_interleave(self._kv_heads, dim=0)
        self._mask[:, 0, :length].masked_fill_(hidden, -torch.inf)
        return logits[rows]

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        self._positions = self._positions + 1
        self._length += 1
        return self._logits(tokens[:, None], self._mask[:, :, : self._length])

    def keep(self, rows: Tensor) -> None:
        """See `Decoder`."""
        self._positions = self._positions[rows]
        heads = self._heads_of(rows)
        past = slice(0, self._length)
        for caches in (self._keys, self._values):
            for i, cache in enumerate(caches):
                caches[i] = cache[: len(heads)]
                caches[i][:, past] = cache[heads, past]
        self._mask = self._mask[heads]

    def _heads_of(self, rows: Tensor) -> Tensor:
        """Indices `[n * k]` of the key-value heads of rows."""
        first: Tensor = rows[:, None] * self._kv_heads
        return (first + torch.arange(self._kv_heads)).flatten()

    def _logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Append tokens to the rows, at the end of the cache.

        Args:
            ids: The tokens `[n, t]`; `_positions` and `_length` count them already.
            mask: What is added to the attention's scores, `[n * k, t * h / k, _length]`.

        Returns:
            Logits of the tokens that follow, `[n, vocabulary]`.
        """
        n, t = ids.shape
        rotations = self._rotations[self._positions][:, :, None]  # [n, t, 1, d / 2]
        hidden = self._embeddings[ids.flatten()]  # [n * t, hidden]
        for layer, keys, values in zip(self._layers, self._keys, self._values, strict=True):
            qkv = (self._normed(hidden, layer.attention_norm) @ layer.qkv).view(n, t, -1)
            attended = self._attention(qkv, layer, keys, values, rotations, mask)
            hidden = torch.addmm(hidden, attended, layer.out)
            gate, up = (self._normed(hidden, layer.mlp_norm) @ layer.gate_up).chunk(2, dim=-1)
            hidden = torch.addmm(hidden, silu(gate) * up, layer.down)
        last = hidden.view(n, t, -1)[:, -1]
        logits: Tensor = linear(self._normed(last, self._norm), self._head)
        return logits

    def _attention(
        self,
        qkv: Tensor,
        layer: _Layer,
        keys: Tensor,
        values: Tensor,
        rotations: Tensor,
        mask: Tensor,
    ) -> Tensor:
        """Append the new tokens to the cache and attend to it.

        Args:
            qkv: Queries, keys and values of the new tokens, `[n, t, (h + 2 k) d]`.
            layer: The layer's weights.
            keys: Its cache of keys, `[n * k, capacity, d]`.
            values: Its cache of values, of the same shape.
            rotations: Rotary embedding of the new tokens, `[n, t, 1, d / 2]`.
            mask: As of `_logits`.

        Returns:
            Outputs of the heads, `[n * t, h d]`.
        """
        n, t, _ = qkv.shape
        h, k, d = self._heads, self._kv_heads, self._head_dim
        qk, new_values = qkv.view(n, t, h + 2 * k, d).split_with_sizes([h + k, k], dim=2)
        qk = rms_norm(qk, (d,), None, self._epsilon) * layer.qk_norm
        pairs = torch.view_as_complex(qk.view(n, t, h + k, d // 2, 2))
        qk = torch.view_as_real(pairs * rotations).flatten(3)
        queries, new_keys = qk.split_with_sizes([h, k], dim=2)
        new = slice(self._length - t, self._length)
        keys[:, new] = new_keys.transpose(1, 2).reshape(n * k, t, d)
        values[:, new] = new_values.transpose(1, 2).reshape(n * k, t, d)
        past = slice(0, self._length)
        # Heads that share keys and values are rows of one product.
        queries = queries.view(n, t, k, h // k, d).transpose(1, 2).reshape(n * k, -1, d)
        scores = torch.baddbmm(mask, queries, keys[:, past].transpose(1, 2))
        outputs = torch.bmm(scores.softmax(dim=-1), values[:, past])
        return outputs.view(n, k, t, h // k, d).transpose(1, 2).reshape(n * t, h * d)

    def _normed(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(hidden, hidden.shape[-1:], weight, self._epsilon)
