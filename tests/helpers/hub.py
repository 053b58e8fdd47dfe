"""A hub on this machine that the real clients download from, and that can be told to misbehave.

It speaks what `huggingface_hub` and `modelscope_hub` ask of a hub for a download: the revision of a
repository with its files, and the files, whole or in ranges. Like the real ones it sends large
files of Hugging Face from another host, and keeps every commit until it is told to forget it.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".parquet")
_REPO = r"(?P<repo>[^/]+/[^/]+)"
_KIND = r"(?P<kind>models|datasets)"
_ROUTES = {
    "info": rf"/api/{_KIND}/{_REPO}/revision/(?P<revision>[^/]+)",
    "resolve": rf"/(?P<kind>datasets/)?{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
    "content": rf"/content/{_KIND}/{_REPO}/(?P<revision>[^/]+)/(?P<path>.+)",
    "listing": rf"/api/v1/{_KIND}/{_REPO}/repo/(files|tree)",
    "file": rf"/api/v1/{_KIND}/{_REPO}/repo",
}


@dataclass
class Fault:
    """A misbehaviour at requests whose method and path match.

    Attributes:
        match: Regular expression.
        times: How often; for ever if negative.
        status: Answer with this status.
        headers: Send these headers, over those that would be right.
        truncate: Announce the whole body, and break off after this many bytes.
        short: Send this many bytes as if they were all.
        corrupt: Change the body's last byte.
        stall: Wait this many seconds before the body.
        pause_at: Send this many bytes, and the rest once `go_on` is set.
        no_ranges: Send the whole file, whatever range is asked for.
        redirect: Send the client there.
        page: Answer with this, and status 200.

    """

    match: str
    times: int = -1
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    truncate: int = -1
    short: int = -1
    corrupt: bool = False
    stall: float = 0.0
    pause_at: int = -1
    no_ranges: bool = False
    redirect: str = ""
    page: bytes = b""
    go_on: threading.Event = field(default_factory=threading.Event)
    paused: threading.Event = field(default_factory=threading.Event)

    def again(self) -> "Fault":
        """The same fault, as if it had not happened yet."""
        return replace(self, go_on=threading.Event(), paused=threading.Event())


@dataclass
class Request:
    """One request as it came."""

    line: str
    host: str
    range: str
    authorization: str


class Hub:
    """Repositories by kind and name, each with its commits."""

    def __init__(self) -> None:
        self.commits: dict[tuple[str, str], dict[str, Mapping[str, bytes]]] = {}
        self.branch: dict[tuple[str, str], str] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.url = ""
        self.without_sizes = False
        self.guard = threading.Lock()

    def put(self, kind: str, repo: str, files: Mapping[str, bytes]) -> str:
        """Commit the files of a repository (`models` or `datasets`), and move its branch there."""
        digest = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits.setdefault((kind, repo), {})[digest] = dict(files)
        self.branch[kind, repo] = digest
        return digest

    def forget(self, kind: str, repo: str, commit: str) -> None:
        """Lose a commit, as after a forced push."""
        del self.commits[kind, repo][commit]

    def find(self, kind: str, repo: str, revision: str) -> tuple[str, Mapping[str, bytes]] | None:
        """Commit and files at a revision."""
        commit = self.branch.get((kind, repo)) if revision in ("main", "master") else revision
        files = self.commits.get((kind, repo), {}).get(commit or "")
        return (commit, files) if commit and files is not None else None

    def downloads(self, path: str) -> list[Request]:
        """Requests for a file's content."""
        wanted = re.compile(rf"GET .*{re.escape(path)}")
        return [request for request in self.requests if wanted.search(request.line)]

    def fault_of(self, line: str) -> Fault:
        with self.guard:
            for fault in self.faults:
                if fault.times and re.search(fault.match, line):
                    fault.times -= 1
                    return fault
        return Fault("")


@contextmanager
def serve(hub: Hub) -> Iterator[str]:
    """Serve a hub from threads; gives its address."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub.url
    finally:
        for fault in hub.faults:
            fault.go_on.set()
        server.shutdown()
        server.server_close()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        line = f"{self.command} {unquote(self.path)}"
        headers = self.headers
        self.hub.requests.append(
            Request(
                line,
                headers.get("Host", ""),
                headers.get("Range", ""),
                headers.get("Authorization", "") + headers.get("Cookie", ""),
            )
        )
        self.fault = self.hub.fault_of(line)
        if self.fault.status:
            return self.send(b"injected", self.fault.status)
        if self.fault.page:
            return self.send(self.fault.page, 200, {"Content-Type": "text/html"})
        if self.fault.redirect:
            return self.send(b"", 302, {"Location": self.fault.redirect})
        parts = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        for name, pattern in _ROUTES.items():
            match = re.fullmatch(pattern, unquote(parts.path))
            if match:
                return getattr(self, f"_{name}")(**match.groupdict())
        return self.send_json({"error": "no such address"}, 404)

    def _info(self, kind: str, repo: str, revision: str) -> None:
        found = self.hub.find(kind, repo, revision)
        if not found:
            return self._hugging_face_error(kind, repo)
        commit, files = found
        if self.hub.without_sizes:
            return self.send_json(
                {"id": repo, "sha": commit, "siblings": [{"rfilename": path} for path in files]}
            )
        siblings = [
            {"rfilename": path, "size": len(content), "blobId": git_blob(content)}
            | (
                {"lfs": {"sha256": sha256(content), "size": len(content), "pointerSize": 134}}
                if path.endswith(LARGE)
                else {}
            )
            for path, content in files.items()
        ]
        return self.send_json({"id": repo, "sha": commit, "siblings": siblings})

    def _resolve(self, kind: str | None, repo: str, revision: str, path: str) -> None:
        section = "datasets" if kind else "models"
        found = self.hub.find(section, repo, revision)
        if not found:
            return self._hugging_face_error(section, repo)
        commit, files = found
        if path not in files:
            return self.send(b"", 404, {"X-Error-Code": "EntryNotFound"})
        if path.endswith(LARGE):
            elsewhere = self.headers["Host"].replace("127.0.0.1", "localhost")
            address = f"http://{elsewhere}/content/{section}/{repo}/{commit}/{path}?signature=abc"
            linked = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{sha256(files[path])}"'}
            return self.send(b"", 302, {"Location": address, **linked})
        return self.send_file(files[path], {"X-Repo-Commit": commit})

    def _content(self, kind: str, repo: str, revision: str, path: str) -> None:
        found = self.hub.find(kind, repo, revision)
        assert found
        self.send_file(found[1][path], {})

    def _hugging_face_error(self, kind: str, repo: str) -> None:
        code = "RevisionNotFound" if (kind, repo) in self.hub.commits else "RepoNotFound"
        self.send(b"", 404, {"X-Error-Code": code, "X-Error-Message": code})

    def _listing(self, kind: str, repo: str) -> None:
        found = self.hub.find(kind, repo, self.query.get("Revision", "master"))
        if not found:
            return self._modelscope_error()
        if self.hub.without_sizes:
            bare = [{"Path": path, "Type": "blob"} for path in found[1]]
            return self.send_json({"Code": 200, "Data": {"Files": bare}, "TotalCount": len(bare)})
        entries = [
            {"Path": path, "Type": "blob", "Size": len(content), "Sha256": sha256(content)}
            for path, content in found[1].items()
        ]
        page, per_page = int(self.query.get("PageNumber", 1)), int(self.query.get("PageSize", 200))
        if kind == "datasets":
            total = len(entries)
            entries = entries[(page - 1) * per_page : page * per_page]
            return self.send_json({"Code": 200, "Data": {"Files": entries}, "TotalCount": total})
        return self.send_json({"Code": 200, "Data": {"Files": entries}})

    def _file(self, kind: str, repo: str) -> None:
        found = self.hub.find(kind, repo, self.query.get("Revision", "master"))
        path = self.query.get("FilePath", "")
        if not found or path not in found[1]:
            return self._modelscope_error()
        return self.send_file(found[1][path], {})

    def _modelscope_error(self) -> None:
        self.send_json({"Code": 10010205001, "Message": "not found", "Success": False}, 404)

    def send_json(self, value: Any, status: int = 200) -> None:
        self.send(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def send_file(self, content: bytes, headers: Mapping[str, str]) -> None:
        headers = {"ETag": f'"{git_blob(content)}"', **headers}
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not match or self.fault.no_ranges:
            return self.send(content, 200, headers)
        start, size = int(match[1]), len(content)
        if start >= size:
            return self.send(b"", 416, {"Content-Range": f"bytes */{size}"})
        whole = {"Content-Range": f"bytes {start}-{size - 1}/{size}", **headers}
        return self.send(content[start:], 206, whole)

    def send(self, body: bytes, status: int, headers: Mapping[str, str] | None = None) -> None:
        fault = self.fault
        if fault.short >= 0:
            body = body[: fault.short]
        if fault.corrupt and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(status)
        for key, value in {
            "Content-Length": str(len(body)),
            **(headers or {}),
            **fault.headers,
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault.stall:
            fault.go_on.wait(fault.stall)
        if fault.truncate >= 0:
            self.wfile.write(body[: fault.truncate])
            self.wfile.flush()
            self.close_connection = True
            time.sleep(0.05)  # the bytes arrive before the end does
            return
        if 0 <= fault.pause_at < len(body):
            self.wfile.write(body[: fault.pause_at])
            self.wfile.flush()
            fault.paused.set()
            fault.go_on.wait(60)
            body = body[fault.pause_at :]
        self.wfile.write(body)
