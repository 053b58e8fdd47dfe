"""Tensors that one forward and backward pass of TRL's trainer holds, in bytes.

Read off transformers 5.17 (`models/qwen2/modeling_qwen2.py`: which tensors autograd saves) and TRL
1.16 (`kernels/chunked_logprob.py`: the output head works on tiles of 4096 tokens x 32768 words and
never holds all logits). `tests/plan/test_memory_measured.py` compares it with allocations measured
on a CPU: within a few percent in float32, 15 % too much at most in bfloat16 and with autocast. The
kernels of CUDA, Triton's among them, and flash attention follow the same sources unmeasured.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from r1zero.settings.architecture import Architecture

Dtype = Literal["float32", "bfloat16"]
Attention = Literal["eager", "sdpa", "flash"]
Device = Literal["cpu", "cuda"]

BYTES: dict[Dtype, int] = {"float32": 4, "bfloat16": 2}
# TOKEN_CHUNK_SIZE of trl/kernels/chunked_logprob.py, _CHUNKED_LOGPROB_CHUNK_SIZE of trl/trainer.
_TILE_TOKENS = 4096
_TILE_WORDS = 32768
# Without Triton each tile is folded by torch operations, which hold so many float32 copies of it at
# once: `_forward_tile`: z, z - max, e; `_backward_tile`: y, z, log_p, p, grad, the difference, its
# product, and a mask of one byte.
_TILES_FORWARD = 3.0
_TILES_BACKWARD = 7.25
# Ids, masks, labels, log-probabilities, running sums and losses, per token: some 16 vectors.
_VECTOR_BYTES = 96


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass of one process."""

    architecture: Architecture
    weights: Dtype
    autocast: bool
    """Whether float32 weights are computed with in bfloat16."""
    rows: int
    """Completions."""
    prompt_length: int
    completion_length: int
    checkpointing: bool
    attention: Attention
    device: Device
    pieces: int = 1
    """Forward passes behind the one backward pass, as in the TRL backend."""

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return self.prompt_length + self.completion_length

    @property
    def rows_at_once(self) -> int:
        """Rows in one of the pieces."""
        return ceil(self.rows / self.pieces)

    @property
    def weight_bytes(self) -> int:
        """Bytes of one weight, and of one number in the residual stream."""
        return BYTES[self.weights]

    @property
    def compute_bytes(self) -> int:
        """Bytes of one number that a matrix product reads or writes."""
        return 2 if self.autocast else self.weight_bytes


Moment = dict[str, int]


def peak(step: Pass) -> Moment:
    """Bytes at the worst moment: saved `activations`, `logits` (output head) and `working` memory.

    Which moment is worst depends on the sizes: the head's backward pass with everything still
    saved, a layer's backward pass, or the embedding's at the end.
    """
    layers = _layers_saved(step)
    saved = layers + _top_saved(step)
    waiting, kept_casts = _waiting_gradients(step), _casts(step, forward=False)
    head_gradient = (
        step.architecture.embedding_parameters * step.weight_bytes
        if step.architecture.tie_word_embeddings
        else 0
    )
    moments = (
        _moment(saved, _head_forward(step), _casts(step, forward=True)),
        _moment(saved, _head_backward(step), waiting + kept_casts),
        # A tied head's gradient waits for the embedding's, which comes last.
        _moment(
            # With several pieces, what the others' heads saved is still there.
            saved if step.pieces > 1 else layers,
            head_gradient,
            waiting + kept_casts + _layer_backward(step),
        ),
        _moment(0, head_gradient, waiting + _embedding_backward(step)),
    )
    return max(moments, key=lambda moment: sum(moment.values()))


def _casts(step: Pass, *, forward: bool) -> int:
    """Autocast's bfloat16 copies of the layers' weights.

    Cached during the forward pass; then saved, unless a checkpointed layer makes its own anew.
    """
    if not step.autocast or (step.checkpointing and not forward):
        return 0
    return 2 * step.architecture.num_hidden_layers * step.architecture.layer_parameters


def _moment(activations: int, logits: int, working: int) -> Moment:
    return {"activations": activations, "logits": logits, "working": working}


def _layers_saved(step: Pass) -> int:
    """What the layers' forward passes save, or with checkpointing their inputs."""
    architecture = step.architecture
    tokens = step.rows * step.length
    if step.checkpointing:
        layer, shared = tokens * architecture.hidden_size * step.weight_bytes, _mask(step)
    else:
        layer, shared = _layer_saved(step, step.rows), 0
    rotary = 2 * step.length * architecture.head_size * step.weight_bytes
    return architecture.num_hidden_layers * layer + shared + rotary + tokens * _VECTOR_BYTES


def _top_saved(step: Pass) -> int:
    """What the final norm and the head save: gone when the layers' backward passes begin."""
    hidden = step.architecture.hidden_size
    norm = step.rows * step.length * hidden * (4 + step.weight_bytes)
    return norm + _scored(step, step.rows) * hidden * step.weight_bytes


def _layer_saved(step: Pass, rows: int) -> int:
    return sum(
        (
            _norm_saved(step, rows, consumers=3),
            _attention_saved(step, rows),
            _norm_saved(step, rows, consumers=2),
            _mlp_saved(step, rows),
        )
    )


def _norm_saved(step: Pass, rows: int, consumers: int) -> int:
    """RMSNorm: input and scale in float32, the normalised input, the output `consumers` read."""
    if step.weights == "bfloat16":
        each = 4 + 2 + 2
    elif step.autocast:
        # The output stays float32, so every projection that reads it saves a cast of its own.
        each = 4 + 4 + 2 * consumers
    else:
        each = 4 + 4 + 4
    return rows * step.length * (step.architecture.hidden_size * each + 4)


def _attention_saved(step: Pass, rows: int) -> int:
    """Queries, keys, values, output, and what the kernel keeps of the scores."""
    architecture, size = step.architecture, step.compute_bytes
    tokens = rows * step.length
    query, key_value = architecture.query_size, architecture.key_value_size
    heads = architecture.num_attention_heads
    scores = tokens * step.length
    if step.attention == "flash":
        # Padding is taken out for the kernel and put back, so the output exists twice.
        kept = tokens * ((3 * query + 2 * key_value) * size + heads * 4)
    else:
        # A batch with padding has a mask, and with a mask keys and values are repeated for every
        # query head (`integrations/sdpa_attention.py: use_gqa_in_sdpa`).
        kept = tokens * 4 * query * size
        if step.attention == "eager":
            kept += scores * heads * (4 if size == 4 else 4 + size)
        else:
            # Log-sum-exp per head, and the boolean mask as numbers, made anew in each layer.
            kept += tokens * heads * 4 + scores * size
    if architecture.query_key_norm:
        scales = (heads + architecture.num_key_value_heads) * 4
        kept += tokens * ((query + key_value) * (4 + size) + scales)
    return kept


def _mlp_saved(step: Pass, rows: int) -> int:
    """Gate, its activation, up, and their product."""
    inner = step.architecture.intermediate_size
    return 4 * rows * step.length * inner * step.compute_bytes


def _mask(step: Pass) -> int:
    """The causal mask, one for all layers, which a checkpointed layer needs once more.

    Numbers for eager, booleans for sdpa. Autograd itself saves none of it.
    """
    each = {"eager": step.weight_bytes, "sdpa": 1, "flash": 0}[step.attention]
    return step.rows * step.length**2 * each


def _scored(step: Pass, rows: int) -> int:
    """Positions that the head scores: with Triton the completions', else all but the last."""
    return rows * (step.completion_length if step.device == "cuda" else step.length - 1)


def _tile(step: Pass) -> tuple[int, int]:
    """Tokens and words of the largest tile of logits."""
    tokens = min(_scored(step, step.rows_at_once), _TILE_TOKENS)
    return tokens, min(step.architecture.vocab_size, _TILE_WORDS)


def _tile_bytes(step: Pass, copies: float) -> int:
    """The tile's buffer, which is as wide as can be whatever the vocabulary, and its copies."""
    tokens, words = _tile(step)
    buffer = tokens * _TILE_WORDS * step.compute_bytes
    casts = (words + tokens) * step.architecture.hidden_size * 2 if step.autocast else 0
    folding = ceil(copies * tokens * words * 4) if step.device == "cpu" else 0
    return buffer + casts + folding


def _head_forward(step: Pass) -> int:
    # The final norm's output is still there: the head's input is a copy of part of it.
    tokens = step.rows_at_once * step.length
    norm_output = tokens * step.architecture.hidden_size * step.weight_bytes
    return _tile_bytes(step, _TILES_FORWARD) + norm_output


def _head_backward(step: Pass) -> int:
    """Tiles, and float32 gradients of the head's input and weight, cast at the end."""
    architecture = step.architecture
    cast = 0 if step.weights == "float32" else step.weight_bytes
    scored = _scored(step, step.rows_at_once) * architecture.hidden_size
    gradients = (scored + architecture.embedding_parameters) * (4 + cast)
    return _tile_bytes(step, _TILES_BACKWARD) + gradients


def _layer_backward(step: Pass) -> int:
    """What a layer's backward pass adds at its worst, its forward pass done again if need be."""
    architecture, rows = step.architecture, step.rows_at_once
    tokens, size = rows * step.length, step.compute_bytes
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    query = architecture.query_size
    stream = tokens * hidden * step.weight_bytes
    # Done again, a layer saves all but its input: that is there already, unless in bfloat16, of
    # which the norm saves a float32 copy.
    there = stream if step.weights == "float32" else 0
    again = _layer_saved(step, rows) - there if step.checkpointing else 0
    if step.autocast and step.checkpointing:
        again += 2 * architecture.layer_parameters
    # At the last projection its weight's gradient comes on top, then goes into the sum. Where gate
    # and up are multiplied three gradients of the MLP's width meet, one saved tensor being gone.
    width = tokens * inner * size
    mlp = width + max(width, hidden * inner * step.weight_bytes)
    # The attention's turn comes when the MLP's tensors are gone.
    gone = _mlp_saved(step, rows) + _norm_saved(step, rows, consumers=2)
    scores = 2 * tokens * step.length * architecture.num_attention_heads * 4
    attention = 4 * tokens * query * size + (scores if step.attention == "eager" else 0) - gone
    return again + stream + max(mlp, attention, 0)


def _waiting_gradients(step: Pass) -> int:
    """With several pieces autograd adds up their gradients aside before it touches `.grad`."""
    return step.architecture.parameters * step.weight_bytes if step.pieces > 1 else 0


def _embedding_backward(step: Pass) -> int:
    architecture = step.architecture
    stream = step.rows_at_once * step.length * architecture.hidden_size
    return (architecture.embedding_parameters + stream) * step.weight_bytes
