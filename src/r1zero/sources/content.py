"""Files that are not what their name says, recognised by their content.

A checksum proves that a file is the one that a hub listed or the lock names, not that the listed
file is the data: repositories hold pointers of git-lfs, portals answer with HTML, copies break off.
"""

import json
from pathlib import Path

from r1zero.core.formatting import size

_HEAD = 1024
_POINTERS = (b"version https://git-lfs.github.com/spec/", b"/annex/objects/", b"../.git/annex/")
_PAGES = (b"<!doctype html", b"<html", b"<head")
_PARQUET = b"PAR1"
_LARGEST_HEADER = 100 << 20  # as in safetensors


def wrong_content(path: Path, name: str) -> str:
    """What a file is instead of what its name says; empty if nothing is wrong with it.

    Args:
        path: The file.
        name: Its name at the source.

    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if head.startswith(_POINTERS):
        return "a pointer of git-lfs or git-annex, not the file itself"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(_PAGES) and not name.endswith((".html", ".htm", ".md")):
        return "an HTML page, such as of a login or an error"
    if name.endswith(".safetensors"):
        return _cut_safetensors(path, head)
    if name.endswith(".parquet"):
        return _cut_parquet(path, head)
    return ""


def _cut_safetensors(path: Path, head: bytes) -> str:
    """Whether the tensors that the header names reach beyond the end of the file."""
    length, header = int.from_bytes(head[:8], "little"), head[8:9]
    if not head:
        return "an empty file"
    if header != b"{" or length > _LARGEST_HEADER:
        return ""  # of another format, which is not for this check to say
    bytes_ = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(8)
        text = stream.read(length)
    try:
        tensors = json.loads(text)
        ends = [tensor["data_offsets"][1] for key, tensor in tensors.items() if key[:2] != "__"]
        whole = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError):
        whole = 8 + length
        if len(text) == length:
            return "a safetensors file whose header cannot be read"
    if bytes_ < whole:
        return f"a truncated safetensors file: {size(bytes_)} of {size(whole)}"
    return ""


def _cut_parquet(path: Path, head: bytes) -> str:
    """Whether a file that begins as Parquet does not end as such."""
    if not head.startswith(_PARQUET):
        return "" if head else "an empty file"
    with path.open("rb") as stream:
        stream.seek(-min(4, path.stat().st_size), 2)
        return "" if stream.read() == _PARQUET else "a truncated Parquet file"
