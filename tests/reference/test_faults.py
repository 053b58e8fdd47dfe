"""What a trainer does when its reference server misbehaves.

`pytest -s` prints the table that docs/backends.md has.
"""

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
import pytest
import torch
from safetensors.torch import load_file, save

from r1zero.core.errors import UserError
from r1zero.train import metrics
from r1zero.train.backends.split import entrypoint
from r1zero.train.backends.split.rollouts import RolloutWorker
from r1zero.train.checkpoints import drop_incomplete, sealed
from reference_server import Application, serving
from tiny import RECIPE, Run, edited, make_run
from tiny_model import save_tiny_model

STEPS = 4
TOKEN = "a-token-of-the-tests"
# Metrics that depend on the clock.
TIMED = {"step_time", "time/rollout"}


class Outcome(NamedTuple):
    """How a training ended."""

    steps: int
    """Optimizer steps in its metrics."""
    error: str
    weights: dict[str, torch.Tensor]
    """Of the last checkpoint."""
    rows: list[dict[str, Any]]

    def equals(self, other: "Outcome") -> bool:
        """Whether weights and metrics are the same to the last bit."""
        assert self.weights.keys() == other.weights.keys()
        same = all(torch.equal(self.weights[name], other.weights[name]) for name in self.weights)
        return same and self.rows == other.rows


def train(run: Run, *options: str) -> Outcome:
    """Train from the last checkpoint on, in this process."""
    drop_incomplete(run.checkpoints)
    done = sealed(run.checkpoints)
    metrics.keep_until(run.checkpoints / "metrics.jsonl", max(done, default=0))
    arguments = [str(run.file), str(run.plan / "config" / "split.yaml"), *options]
    if done:
        arguments += ["--resume", str(done[max(done)])]
    error = ""
    try:
        entrypoint.main(arguments)
    except UserError as raised:
        error = str(raised)
    log = run.checkpoints / "metrics.jsonl"
    rows = metrics.read(log) if log.is_file() else []
    done = sealed(run.checkpoints)
    weights = load_file(done[max(done)] / "model.safetensors") if done else {}
    rows = [{key: row[key] for key in row if key not in TIMED} for row in rows]
    return Outcome(len(rows), error, weights, rows)


def asking(address: str, patience: float = 0.3) -> list[str]:
    """Options of a trainer that asks a server."""
    return ["--reference-address", address, "--reference-patience", str(patience)]


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Path:
    return tiny_base.parent


@pytest.fixture(scope="module")
def config(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration in which four steps move the weights."""
    folder = tmp_path_factory.mktemp("faults") / "config"
    shutil.copytree(tiny_config, folder)
    with edited(folder / "recipes" / f"{RECIPE}.yaml") as recipe:
        recipe["algorithm"] |= {"beta": 0.04, "temperature": 1.0}
    with edited(folder / "scales" / "mini.yaml") as scale:
        scale["tasks"]["countdown"]["sizes"]["learning_rate"] = 1e-2
    return folder


@pytest.fixture(autouse=True, scope="module")
def _rewards_that_differ() -> Iterator[None]:
    """The base is right too seldom to learn from the rewards of the recipe."""

    def scored(
        worker: RolloutWorker, rows: Any, completions: Any, completion_ids: Any, step: int
    ) -> torch.Tensor:
        shares = [sum(token % 2 for token in ids) / len(ids) for ids in completion_ids]
        return torch.tensor(shares)[:, None].expand(-1, len(worker.functions))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RolloutWorker, "_score", scored)
        yield


@pytest.fixture
def run(config: Path, tiny_task: Path, tiny_base: Path, tmp_path: Path) -> Run:
    return make_run(tmp_path / "run", config, tiny_task, tiny_base, backend="split")


@pytest.fixture(scope="module")
def local(
    config: Path, tiny_task: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    """The training with the reference model in the trainer."""
    folder = tmp_path_factory.mktemp("local") / "run"
    outcome = train(make_run(folder, config, tiny_task, tiny_base, backend="split"))
    assert outcome.steps == STEPS
    # The later steps are away from the reference model.
    assert outcome.rows[-1]["kl"] > 0
    return outcome


@pytest.fixture(scope="module")
def table() -> Iterator[Callable[[str, str], None]]:
    """Takes rows of the table, which is printed at the end."""
    rows: list[tuple[str, str]] = []
    yield lambda fault, outcome: rows.append((fault, outcome))
    print("\n\n| fault | what the trainer did |\n|---|---|")
    for row in rows:
        print("| {} | {} |".format(*row))


def described(outcome: Outcome, local: Outcome) -> str:
    """An outcome in words."""
    if outcome.error:
        return f"stopped after step {outcome.steps}: `{outcome.error}`"
    assert outcome.equals(local)
    return "trained to the end, to the same bits"


class Other(NamedTuple):
    """A server that is not the one that the run wants."""

    model: Callable[[Path, Path], Path] = lambda base, folder: base
    """Makes the folder of its model from that of the run and an empty one."""
    options: Mapping[str, Any] = MappingProxyType({})
    names: str = ""
    """What the error names."""


def with_other_tokenizer(base: Path, folder: Path) -> Path:
    shutil.copytree(base, folder, dirs_exist_ok=True)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "2.0"}))
    return folder


OTHERS = {
    "other weights": Other(lambda base, folder: save_tiny_model(folder), names="weights"),
    "other tokenizer": Other(with_other_tokenizer, names="tokenizer"),
    "other temperature": Other(options={"temperature": 0.7}, names="temperature 0.7"),
    "no token given": Other(options={"token": TOKEN}, names="401"),
}


@pytest.mark.parametrize("fault", OTHERS)
def test_another_server_is_refused_before_the_first_step(
    fault: str, base: Path, run: Run, local: Outcome, tmp_path: Path, table: Callable[..., None]
) -> None:
    other = OTHERS[fault]
    with serving(other.model(base, tmp_path / "other"), **other.options) as address:
        outcome = train(run, *asking(address))
    assert outcome.steps == 0
    assert other.names in outcome.error
    assert not list(run.checkpoints.glob("checkpoint-*"))
    table(fault, described(outcome, local))


@pytest.mark.parametrize(("fault", "given"), [("bad token", "other"), ("right token", TOKEN)])
def test_a_token_decides(
    fault: str,
    given: str,
    base: Path,
    run: Run,
    local: Outcome,
    table: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN_OF_THE_TESTS", given)
    with serving(base, token=TOKEN) as address:
        outcome = train(run, *asking(address), "--reference-token-from", "TOKEN_OF_THE_TESTS")
    assert outcome.steps == (STEPS if given == TOKEN else 0)
    assert TOKEN not in outcome.error
    table(fault, described(outcome, local))


@pytest.mark.parametrize("prefetch", ["on", "off"])
def test_a_server_computes_what_the_trainer_would(
    prefetch: str, base: Path, run: Run, local: Outcome
) -> None:
    with serving(base) as address:
        assert train(run, *asking(address), "--reference-prefetch", prefetch).equals(local)


class Misbehaving:
    """An application that does something else with the second request for log-probabilities."""

    def __init__(self, application: Application, fault: Callable[..., Any]) -> None:
        self.application, self.fault, self.requests = application, fault, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests += scope.get("path") == "/logps"
        if scope.get("path") == "/logps" and self.requests == 2:
            await self.fault(self.application, scope, receive, send)
        else:
            await self.application(scope, receive, send)


async def answer(send: Any, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def breaks_off(application: Any, scope: Any, receive: Any, send: Any) -> None:
    """The connection breaks in the middle of an answer."""
    headers = [(b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    raise ConnectionError


async def is_slow(application: Any, scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(1)
    await application(scope, receive, send)


async def is_too_slow(application: Any, scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(4)


async def is_full(application: Any, scope: Any, receive: Any, send: Any) -> None:
    await answer(send, 503, b"")


async def is_out_of_memory(application: Any, scope: Any, receive: Any, send: Any) -> None:
    await answer(send, 500, json.dumps({"error": "out of memory"}).encode())


def instead(body: bytes) -> Callable[..., Any]:
    """Send another body in place of an answer."""

    async def fault(application: Any, scope: Any, receive: Any, send: Any) -> None:
        async def changed(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [each for each in message["headers"] if each[0] != b"content-length"]
                message["headers"] = [*headers, (b"content-length", str(len(body)).encode())]
            else:
                message["body"] = body
            await send(message)

        await application(scope, receive, changed)

    return fault


FAULTS: dict[str, tuple[Callable[..., Any], float, str]] = {
    "connection breaks in an answer": (breaks_off, 5.0, ""),
    "one answer is slow": (is_slow, 5.0, ""),
    "slower than the patience": (is_too_slow, 1.0, "1 s"),
    "busy (503)": (is_full, 5.0, ""),
    "out of memory (500)": (is_out_of_memory, 5.0, "out of memory"),
    "garbage": (instead(b"garbage"), 5.0, "safetensors"),
    "empty answer": (instead(b""), 5.0, "safetensors"),
    "answer for another batch": (instead(save({"logps": torch.zeros(1, 2)})), 5.0, "completions"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_step(
    fault: str, base: Path, run: Run, local: Outcome, table: Callable[..., None]
) -> None:
    misbehaves, patience, names = FAULTS[fault]
    with serving(base, wrapped=lambda app: Misbehaving(app, misbehaves)) as address:
        outcome = train(run, *asking(address, patience))
        # It does not come back to a server that refuses or answers something else.
        assert outcome.steps == (1 if names else STEPS)
        assert names in outcome.error
        table(fault, described(outcome, local))
        if names:
            assert train(run, *asking(address, patience)).equals(local)


def test_not_finite_answers_stop_a_training(
    base: Path, run: Run, local: Outcome, table: Callable[..., None]
) -> None:
    def score(input_ids: torch.Tensor, mask: torch.Tensor, kept: int, batch: int) -> torch.Tensor:
        return torch.full((len(input_ids), kept), torch.nan)

    with serving(base, score=score) as address:
        outcome = train(run, *asking(address))
    assert outcome.steps == 0
    assert "finite" in outcome.error
    table("log-probabilities of NaN", described(outcome, local))


def test_a_request_that_is_too_large_stops_a_training(
    base: Path, run: Run, local: Outcome, table: Callable[..., None]
) -> None:
    with serving(base, request_bytes=1000) as address:
        outcome = train(run, *asking(address))
    assert outcome.steps == 0
    assert "413" in outcome.error
    table("request over the limit (413)", described(outcome, local))


@contextmanager
def killed(base: Path, then: Path | None) -> Iterator[str]:
    """A server that dies while it answers the third request, and the one started in its place.

    Args:
        base: Folder of its model.
        then: Folder of the model of the other; None for no other.

    """
    dying, requests = threading.Event(), 0

    def wrapped(application: Application) -> Application:
        async def counting(scope: Any, receive: Any, send: Any) -> None:
            nonlocal requests
            requests += scope.get("path") == "/logps"
            if requests < 3:
                await application(scope, receive, send)
            else:
                dying.set()
                await breaks_off(application, scope, receive, send)

        return counting

    with ExitStack() as first, ExitStack() as second:
        address = first.enter_context(serving(base, wrapped=wrapped))

        def replace() -> None:
            dying.wait()
            first.close()
            if then:
                second.enter_context(serving(then, port=httpx.URL(address).port or 0))

        replacing = threading.Thread(target=replace)
        replacing.start()
        try:
            yield address
        finally:
            dying.set()
            replacing.join()


def test_a_server_that_is_started_again(
    base: Path, run: Run, local: Outcome, table: Callable[..., None]
) -> None:
    with killed(base, then=base) as address:
        outcome = train(run, *asking(address, 60))
    table("killed in a step, and started again", described(outcome, local))
    assert outcome.steps == STEPS


def test_a_server_that_is_started_again_with_other_weights(
    base: Path, run: Run, local: Outcome, tmp_path: Path, table: Callable[..., None]
) -> None:
    with killed(base, then=save_tiny_model(tmp_path / "other")) as address:
        outcome = train(run, *asking(address, 60))
    table("started again with other weights", described(outcome, local))
    assert outcome.steps == 2
    assert "weights" in outcome.error


def test_a_server_that_is_killed_for_good_stops_a_training_which_resumes(
    base: Path, run: Run, local: Outcome, table: Callable[..., None]
) -> None:
    with killed(base, then=None) as address:
        outcome = train(run, *asking(address, 1))
    table("killed in a step", described(outcome, local))
    assert outcome.steps == 2
    assert list(sealed(run.checkpoints)) == [2]
    with serving(base) as address:
        resumed = train(run, *asking(address))
    table("the same command once it is back", described(resumed, local))
    assert resumed.equals(local)


def test_a_server_that_is_not_there_stops_a_training_at_once(
    run: Run, local: Outcome, table: Callable[..., None]
) -> None:
    # Nothing listens on the port of discarded bytes.
    outcome = train(run, *asking("http://127.0.0.1:9"))
    assert outcome.steps == 0
    table("not there", described(outcome, local))
