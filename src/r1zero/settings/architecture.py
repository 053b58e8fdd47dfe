"""The shape of a decoder-only transformer, from which memory and time are computed."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from r1zero.core.errors import UserError
from r1zero.core.section import Section

_FAMILIES = ("llama", "qwen2", "qwen3")
# The default of Qwen3Config, for a config.json without `head_dim`.
_QWEN3_HEAD_SIZE = 128


def positions_of(config: Mapping[str, Any]) -> int | None:
    """Maximum tokens of a prompt and its completion, from the contents of a `config.json`.

    None if the file does not give it, or if its rotary embeddings are scaled to more.
    """
    # transformers 5 renamed it to `rope_parameters`, which always have a type.
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        return None
    return config.get("max_position_embeddings")


class Architecture(Section):
    """Sizes of a Qwen2, Qwen3 or Llama model, under the names of its `config.json`."""

    vocab_size: int = Field(ge=1)
    """Rows of the embedding table."""
    hidden_size: int = Field(ge=1)
    """Width of the residual stream."""
    intermediate_size: int = Field(ge=1)
    """Width inside the MLP."""
    num_hidden_layers: int = Field(ge=1)
    """Layers."""
    num_attention_heads: int = Field(ge=1)
    """Query heads."""
    num_key_value_heads: int = Field(ge=1)
    """Key and value heads, each shared by a group of query heads."""
    head_dim: int | None = Field(default=None, ge=1)
    """Width of a head; by default `hidden_size / num_attention_heads`."""
    tie_word_embeddings: bool
    """Whether the output head is the embedding table."""
    attention_bias: bool = True
    """Whether the q, k and v projections have a bias, as in Qwen2 and Qwen2.5."""
    output_bias: bool = False
    """Whether the attention's output projection has one too, as in Llama with `attention_bias`."""
    mlp_bias: bool = False
    """Whether the MLP's projections have biases."""
    query_key_norm: bool = False
    """Whether queries and keys are normalised per head, as in Qwen3."""
    max_position_embeddings: int | None = Field(default=None, ge=1)
    """Maximum tokens of a prompt and its completion; not checked if left out."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads must be a multiple of num_key_value_heads")
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError("without head_dim, num_attention_heads must divide hidden_size")
        return self

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """From the contents of a transformers `config.json`.

        Raises:
            UserError: The parameters and activations of this model family are not implemented.

        """
        family = config.get("model_type")
        if family not in _FAMILIES:
            raise UserError(
                f"the memory model does not cover model type '{family}'",
                where="config.json: model_type",
                hint=f"supported: {', '.join(_FAMILIES)}",
            )
        bias = bool(config.get("attention_bias", False))
        heads = config["num_attention_heads"]
        return cls(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            num_hidden_layers=config["num_hidden_layers"],
            num_attention_heads=heads,
            num_key_value_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or (_QWEN3_HEAD_SIZE if family == "qwen3" else None),
            tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
            # Qwen2 has these biases, although its config.json does not mention them.
            attention_bias=family == "qwen2" or bias,
            output_bias=family != "qwen2" and bias,
            mlp_bias=bool(config.get("mlp_bias", False)),
            query_key_norm=family == "qwen3",
            max_position_embeddings=positions_of(config),
        )

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def query_size(self) -> int:
        """Total width of the query heads."""
        return self.num_attention_heads * self.head_size

    @property
    def key_value_size(self) -> int:
        """Total width of the key heads, which is also that of the value heads."""
        return self.num_key_value_heads * self.head_size

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding table, and of an untied output head."""
        return self.vocab_size * self.hidden_size

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer."""
        hidden, inner = self.hidden_size, self.intermediate_size
        query, key_value = self.query_size, self.key_value_size
        attention = 2 * hidden * query + 2 * hidden * key_value
        biases = (
            self.attention_bias * (query + 2 * key_value)
            + self.output_bias * hidden
            + self.mlp_bias * (2 * inner + hidden)
        )
        norms = 2 * hidden + self.query_key_norm * 2 * self.head_size
        return attention + 3 * hidden * inner + biases + norms

    @property
    def parameters(self) -> int:
        """All parameters; a tied output head is counted once."""
        tables = 1 if self.tie_word_embeddings else 2
        layers = self.num_hidden_layers * self.layer_parameters
        return tables * self.embedding_parameters + layers + self.hidden_size
