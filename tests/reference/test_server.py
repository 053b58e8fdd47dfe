"""What the server answers: the trainer's own log-probabilities, or a refusal with a reason."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from r1zero.cli import app
from r1zero.core.errors import UserError
from r1zero.reference.protocol import (
    IDENTITY_HEADER,
    Identity,
    pack_request,
    unpack_answer,
    unpack_request,
)
from r1zero.train.backends.split.loss import Row
from r1zero.train.backends.split.scoring import as_request, load, rows_logps
from reference_server import serving
from tiny import ENVIRONMENT

TOKEN = "a-token-of-the-tests"


def rows(seed: int = 0) -> list[Row]:
    """Completions of different lengths."""
    drawn = torch.Generator().manual_seed(seed)

    def ids(length: int) -> list[int]:
        return torch.randint(5, 60, (length,), generator=drawn).tolist()

    lengths = [(3, 9), (8, 1), (5, 20), (5, 4), (2, 7)]
    return [Row(ids(prompt), ids(length), 0.0, False) for prompt, length in lengths]


def request(seed: int = 0) -> dict[str, Any]:
    input_ids, mask, kept = as_request(rows(seed))
    return {"params": {"kept": kept, "batch": 2}, "content": pack_request(input_ids, mask)}


def answered(response: httpx.Response) -> Tensor:
    assert response.status_code == 200, response.text
    return unpack_answer(response.content, len(rows()), as_request(rows())[2])


@pytest.fixture(scope="module")
def address(model: Path) -> Iterator[str]:
    with serving(model, temperature=0.9, length=100, vocabulary=200) as address:
        yield address


def test_answers_are_the_log_probabilities_of_the_trainer(model: Path, address: str) -> None:
    trainers = range(6)
    with ThreadPoolExecutor(len(trainers)) as pool:
        sent = [pool.submit(httpx.post, f"{address}/logps", **request(seed)) for seed in trainers]
        found = [answered(each.result()) for each in sent]
    reference = load(model)
    for seed, logps in zip(trainers, found, strict=True):
        wanted = rows(seed)
        for row, values in rows_logps(reference, wanted, 0.9, 2):
            row.reference = values
        for row, values in zip(wanted, logps, strict=True):
            length = len(row.completion_ids)
            assert row.reference is not None
            assert torch.equal(values[:length], row.reference)
            assert not values[length:].any()


def changed(name: str, value: Any) -> bytes:
    """A request with another value at one place of a tensor."""
    input_ids, mask = unpack_request(request()["content"])
    tensors = {"input_ids": input_ids, "mask": mask}
    tensors[name][2, -3] = value
    return pack_request(**tensors)


REFUSED = {
    "garbage": (422, {"content": b"not safetensors"}),
    "empty": (422, {"content": b""}),
    "no numbers in the query": (400, {"params": {"kept": "x", "batch": 2}}),
    "nothing to score": (422, {"params": {"kept": 0, "batch": 2}}),
    "no prompt": (422, {"params": {"kept": 10**3, "batch": 2}}),
    "no row in a pass": (422, {"params": {"kept": 20, "batch": 0}}),
    "unknown token": (422, {"content": changed("input_ids", 200)}),
    "negative token": (422, {"content": changed("input_ids", -1)}),
    "a gap in a completion": (422, {"content": changed("mask", 0)}),
    "a mask of numbers": (422, {"content": changed("mask", 7)}),
    "too long": (
        422,
        {
            "params": {"kept": 4, "batch": 2},
            "content": pack_request(torch.zeros(2, 101), torch.ones(2, 101)),
        },
    ),
    "100 MB": (413, {"content": bytes(10**8)}),
    "100 MB of unknown length": (413, {"content": (bytes(10**6) for _ in range(100))}),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_wrong_request_is_refused_and_the_next_is_answered(fault: str, address: str) -> None:
    status, changes = REFUSED[fault]
    response = httpx.post(f"{address}/logps", **request() | changes)
    assert response.status_code == status
    assert response.json()["error"]
    answered(httpx.post(f"{address}/logps", **request()))


def test_a_body_that_does_not_arrive_is_given_up(model: Path) -> None:
    with serving(model, seconds=0.2) as address:
        host, port = httpx.URL(address).host, httpx.URL(address).port
        with socket.create_connection((host, port or 0)) as slow:
            head = "POST /logps?kept=1&batch=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"
            slow.sendall(head.encode())
            assert b" 408 " in slow.recv(4096).splitlines()[0]
        answered(httpx.post(f"{address}/logps", **request()))


def test_more_requests_than_may_wait_are_told_to_come_again(model: Path) -> None:
    going, free = threading.Event(), threading.Event()

    def stuck(input_ids: Tensor, mask: Tensor, kept: int, batch: int) -> Tensor:
        going.set()
        free.wait()
        return torch.zeros(len(input_ids), kept)

    with serving(model, score=stuck, waiting=1) as address, ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, f"{address}/logps", **request())
        going.wait()
        response = httpx.post(f"{address}/logps", **request())
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        # It says that it lives, and how many wait, while it computes.
        assert httpx.get(f"{address}/health").json() == {"status": "ok", "waiting": 1}
        free.set()
        answered(first.result())


@pytest.mark.parametrize("given", [None, "other", f"{TOKEN}x", "é"])
def test_a_wrong_token_is_refused(model: Path, given: str | None) -> None:
    headers = {} if given is None else {"authorization": f"Bearer {given}".encode()}
    with serving(model, token=TOKEN) as address:
        for response in (
            httpx.post(f"{address}/logps", headers=headers, **request()),
            httpx.get(f"{address}/identity", headers=headers),
        ):
            assert response.status_code == 401
            assert TOKEN not in response.text
        assert httpx.get(f"{address}/health").status_code == 200
        right = {"authorization": f"Bearer {TOKEN}"}
        answered(httpx.post(f"{address}/logps", headers=right, **request()))


def test_every_answer_names_the_model(model: Path, address: str) -> None:
    types = {"dtype": "float32", "compute_dtype": "float32"}
    identity = Identity.of(model, **types, temperature=0.9, backend="split")
    assert httpx.get(f"{address}/identity").json() == identity.model_dump()
    response = httpx.post(f"{address}/logps", **request())
    assert response.headers[IDENTITY_HEADER] == identity.digest


def test_metrics_count_answers_and_tokens(model: Path) -> None:
    with serving(model) as address:
        httpx.post(f"{address}/logps", **request())
        httpx.post(f"{address}/logps", **request() | {"content": b"x"})
        response = httpx.get(f"{address}/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    samples = dict(
        line.rsplit(" ", 1) for line in response.text.splitlines() if not line.startswith("#")
    )
    tokens = sum(len(row.prompt_ids) + len(row.completion_ids) for row in rows())
    assert samples['reference_answers_total{status="200"}'] == "1"
    assert samples['reference_answers_total{status="422"}'] == "1"
    assert int(samples["reference_tokens_total"]) == tokens
    assert float(samples["reference_compute_seconds_total"]) > 0
    assert samples["reference_waiting"] == "0"
    typed = re.findall(r"^# TYPE (\w+) (?:counter|gauge)$", response.text, re.MULTILINE)
    assert {re.match(r"\w+", name)[0] for name in samples} == set(typed)  # type: ignore[index]


@pytest.mark.slow
def test_the_command_serves_until_it_is_stopped(model: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "r1zero", "reference", "--model", str(model)]
    process = subprocess.Popen(
        [*command, "--temperature", "0.9", "--port", str(port)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    while process.poll() is None:
        try:
            httpx.get(f"{address}/health").raise_for_status()
            break
        except httpx.TransportError:
            time.sleep(0.05)
    answered(httpx.post(f"{address}/logps", **request()))
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate()
    assert address in output
    assert not errors
    assert process.returncode in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (["--host", "0.0.0.0"], "--host"),
        (["--host", "reference.example"], "--host"),
        (["--dtype", "float16"], "--dtype"),
        (["--model", "nowhere"], "nowhere"),
        (["--backend", "swift"], "--backend"),
        (["--backend", "other"], "backend"),
    ],
)
def test_a_server_that_cannot_be_is_not_started(
    options: list[str], where: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("R1ZERO_REFERENCE_TOKEN", raising=False)
    arguments = ["reference", "--model", str(model), "--temperature", "1", *options]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UserError)
    assert where in result.exception.where
