"""Endpoints as one kind of thing: the Hugging Face hub, its mirrors, ModelScope, and folders.

The clients of the hubs know addresses, credentials and errors. What they lack is here and in
`sources.chain`: `huggingface_hub` checks no sha256 and starts a broken file over in the next
process, and neither client resumes a file that another hub began.
"""

from collections.abc import Mapping, Sequence

from r1zero.settings.endpoints import (
    Endpoint,
    HuggingFaceEndpoint,
    LocalEndpoint,
    ModelScopeEndpoint,
)
from r1zero.settings.sources import HubDataset, HubModel
from r1zero.sources.hubs.base import Hub, HubError, Listing, RemoteFile
from r1zero.sources.hubs.huggingface import HuggingFace
from r1zero.sources.hubs.local import LocalFolder
from r1zero.sources.hubs.modelscope import ModelScope

__all__ = ["Hub", "HubError", "Listing", "RemoteFile", "connect"]


def connect(
    endpoints: Sequence[Endpoint],
    source: HubDataset | HubModel,
    *,
    locked: Mapping[str, str],
    offline: bool,
) -> list[Hub]:
    """The endpoints that can have the source, in order.

    Args:
        endpoints: Those of the configuration.
        source: What is wanted.
        locked: Locked commits, by kind of hub: they take the place of a branch.
        offline: Leave out what needs a network.

    """
    kind = "dataset" if isinstance(source, HubDataset) else "model"
    hubs: dict[str, Hub] = {}
    for endpoint in endpoints:
        hub: Hub | None = None
        if isinstance(endpoint, LocalEndpoint):
            hub = LocalFolder(endpoint, kind, source, locked)
        elif not offline and isinstance(endpoint, HuggingFaceEndpoint) and source.huggingface:
            hub = HuggingFace(endpoint, kind, source.huggingface, locked)
        elif not offline and isinstance(endpoint, ModelScopeEndpoint) and source.modelscope:
            longest = max(e.timeout for e in endpoints if isinstance(e, ModelScopeEndpoint))
            hub = ModelScope(endpoint, kind, source.modelscope, locked, longest)
        if hub:  # `auto` may be an address that is listed too
            hubs.setdefault(hub.label, hub)
    return list(hubs.values())
