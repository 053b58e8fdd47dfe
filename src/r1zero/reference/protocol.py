"""What a trainer and a reference server say to each other.

`POST /logps?kept=K&batch=B` takes a safetensors file with `input_ids` (int32 `[n, L]`) and `mask`
(uint8 `[n, L]`, 0 for padding): prompts that are padded on the left to `L - K` tokens, completions
that are padded on the right to `K`. The answer is one with `logps` (float32 `[n, K]`). `B` is the
most rows of one forward pass. Nothing is pickled. `GET /identity` says which model it is. Both want
the token of the server, if it has one, as `Authorization: Bearer TOKEN`. A refusal is JSON with
`error`. `GET /health` and `GET /metrics` are for whoever watches the server.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from r1zero.core.files import describe_file, sha256_file, sha256_json, weights_hash
from r1zero.core.section import Section

IDENTITY_HEADER = "x-reference-identity"
"""Header of every answer with the digest of the server's `Identity`."""

Scorer = Callable[[Tensor, Tensor, int, int], Tensor]
"""Log-probabilities `[n, K]` for `input_ids` and `mask` `[n, L]`, `K`, and the rows of a pass."""


class Identity(Section):
    """What decides the answers of a reference server."""

    weights: str
    """Hash of the weights, as in manifests."""
    tokenizer: str
    """SHA-256 of `tokenizer.json`."""
    dtype: Literal["float32", "bfloat16"]
    """Type of the weights."""
    compute_dtype: Literal["float32", "bfloat16"]
    """Type of the arithmetic."""
    temperature: float
    """Number that logits are divided by."""
    backend: str
    """Backend whose code computes the log-probabilities."""

    @classmethod
    def of(
        cls,
        model: Path,
        *,
        dtype: str,
        compute_dtype: str,
        temperature: float,
        backend: str,
        weights: str = "",
    ) -> Self:
        """The identity of the model in a folder.

        Args:
            model: The folder.
            dtype: Type of the weights.
            compute_dtype: Type of the arithmetic.
            temperature: Number that logits are divided by.
            backend: Name of the backend.
            weights: Hash of the weights, if it is known; they are read otherwise.

        """
        files = sorted(model.glob("*.safetensors"))
        tokenizer = model / "tokenizer.json"
        return cls.model_validate(
            {
                "weights": weights or weights_hash(describe_file(path, model) for path in files),
                "tokenizer": sha256_file(tokenizer) if tokenizer.is_file() else "",
                "dtype": dtype,
                "compute_dtype": compute_dtype,
                "temperature": temperature,
                "backend": backend,
            }
        )

    @property
    def digest(self) -> str:
        """Hash over all of it."""
        return sha256_json(self.model_dump(mode="json"))


def pack_request(input_ids: Tensor, mask: Tensor) -> bytes:
    """Body of a request."""
    return save(
        {
            "input_ids": input_ids.to("cpu", torch.int32).contiguous(),
            "mask": mask.to("cpu", torch.uint8).contiguous(),
        }
    )


def unpack_request(body: bytes) -> tuple[Tensor, Tensor]:
    """Token ids and mask `[n, L]`, both int64.

    Raises:
        ValueError: The body is something else.

    """
    tensors = _tensors(body)
    ids, mask = tensors.get("input_ids"), tensors.get("mask")
    if ids is None or mask is None or ids.dtype != torch.int32 or mask.dtype != torch.uint8:
        raise ValueError("wants input_ids in int32 and mask in uint8")
    if ids.ndim != 2 or ids.shape != mask.shape or 0 in ids.shape:
        raise ValueError(f"input_ids {tuple(ids.shape)} and mask {tuple(mask.shape)} do not fit")
    if mask.max() > 1:
        raise ValueError("mask has other values than 0 and 1")
    return ids.long(), mask.long()


def pack_answer(logps: Tensor) -> bytes:
    """Body of an answer."""
    return save({"logps": logps.to("cpu", torch.float32).contiguous()})


def unpack_answer(body: bytes, rows: int, kept: int) -> Tensor:
    """Log-probabilities `[rows, kept]`.

    Raises:
        ValueError: The body is something else.

    """
    logps = _tensors(body).get("logps")
    if logps is None or logps.dtype != torch.float32 or logps.shape != (rows, kept):
        raise ValueError(f"no log-probabilities of {rows} completions of {kept} tokens")
    if not logps.isfinite().all():
        raise ValueError("log-probabilities that are not finite")
    return logps


def _tensors(body: bytes) -> dict[str, Tensor]:
    try:
        found: dict[str, Tensor] = load(body)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"no safetensors file: {error}") from None
    return found
