"""Endpoints: where files are downloaded from, in the order in which they are tried."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag

from r1zero.core.section import Section


def _is_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an address such as https://hf-mirror.com")
    if parts.username or parts.password:
        raise ValueError(
            "contains credentials; name an environment variable in `token_from` instead"
        )
    return value.rstrip("/")


def _is_address_or_auto(value: str) -> str:
    return value if value == "auto" else _is_address(value)


def _expanded(value: Path) -> Path:
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError("unknown user in `~user`") from None


Address = Annotated[str, AfterValidator(_is_address)]
AddressOrAuto = Annotated[str, AfterValidator(_is_address_or_auto)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class _Remote(Section):
    """An endpoint on a network."""

    timeout: float = Field(default=20, gt=0, le=3600)
    """Seconds without a byte after which an attempt has failed."""
    retries: int = Field(default=4, ge=0)
    """Further attempts without progress, before the next endpoint is tried."""
    token_from: Variable | None = None
    """Environment variable with the token for this endpoint. By default `HF_TOKEN` for
    huggingface.co, `MODELSCOPE_API_TOKEN` for ModelScope's own hosts and none for a mirror, which
    is never sent a token of another host."""


class HuggingFaceEndpoint(_Remote):
    """The Hugging Face hub or a mirror of it."""

    huggingface: AddressOrAuto
    """Address; `auto` is `HF_ENDPOINT` if that is set, otherwise https://huggingface.co."""


class ModelScopeEndpoint(_Remote):
    """ModelScope. Its client has one timeout: the longest of all ModelScope endpoints."""

    modelscope: Address
    """Address, such as https://www.modelscope.cn."""


class LocalEndpoint(Section):
    """A folder with files downloaded elsewhere, or the shared cache of a cluster."""

    local: Annotated[Path, AfterValidator(_expanded)]
    """Folder with `models/OWNER/NAME/` and `datasets/OWNER/NAME/`, or a cache of huggingface_hub
    (`models--OWNER--NAME/snapshots/`). `~` is your home."""


_KINDS = ("huggingface", "modelscope", "local")


def _kind(value: Any) -> str | None:
    keys = value if isinstance(value, dict) else vars(value) if isinstance(value, Section) else {}
    return next((kind for kind in _KINDS if kind in keys), None)


Endpoint = Annotated[
    Annotated[HuggingFaceEndpoint, Tag("huggingface")]
    | Annotated[ModelScopeEndpoint, Tag("modelscope")]
    | Annotated[LocalEndpoint, Tag("local")],
    Discriminator(
        _kind,
        custom_error_type="endpoint",
        custom_error_message="an endpoint needs one of the keys huggingface, modelscope, local",
    ),
]

DEFAULT_ENDPOINTS: list[Endpoint] = [
    HuggingFaceEndpoint(huggingface="auto"),
    HuggingFaceEndpoint(huggingface="https://hf-mirror.com"),
    ModelScopeEndpoint(modelscope="https://www.modelscope.cn"),
]
