"""The supervisor: the environment of the processes, their deaths, and nothing left behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from r1zero.core.errors import UserError
from r1zero.plan.backend import Process
from r1zero.train import supervisor
from r1zero.train.checkpoints import exclusive
from r1zero.train.supervisor import supervise

# Holds the folder as `r1zero train` does, and starts a process that prints its id and stays.
LAUNCHER = """
import sys
from pathlib import Path
from r1zero.plan.backend import Process
from r1zero.train.checkpoints import exclusive
from r1zero.train.supervisor import supervise

folder, role, code = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
health = "http://127.0.0.1:{port:generator}/health" if role == "generator" else None
with exclusive(folder):
    supervise([Process(role=role, argv=("python", "-c", code), health=health)], folder)
"""
STAYS = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
# A trainer whose own child ignores the polite signal.
STUBBORN = """
import signal, subprocess, sys, time
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
child += "import os; print(os.getpid(), flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child])
time.sleep(600)
"""


def trainer(code: str, *arguments: str, gpus: tuple[str, ...] = ()) -> Process:
    return Process(role="trainer", argv=("python", "-c", code, *arguments), gpus=gpus)


def run(folder: Path, *processes: Process, **options: Any) -> str:
    """Supervise processes to the end; returns the log of the trainer."""
    supervise(processes, folder, **options)
    return (folder / "console.log").read_text()


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def gone(pid: int, patience: float = 10.0) -> bool:
    """Whether a process ends within some seconds."""
    end = time.monotonic() + patience
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_alive(pid)


def test_output_goes_on_and_into_the_log_which_is_kept(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    for _ in range(2):
        run(tmp_path, trainer(code))
    assert (tmp_path / "console.log").read_text() == "out\nerr\n" * 2
    assert capfdbinary.readouterr().out == b"out\nerr\n" * 2


def test_a_failure_names_status_and_log(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        run(tmp_path, trainer("print('why', flush=True); raise SystemExit(7)"))
    assert raised.value.where == str(tmp_path / "console.log")
    assert re.findall(r"trainer|\d+", raised.value.message) == ["trainer", "7"]
    assert (tmp_path / "console.log").read_text() == "why\n"


@pytest.mark.parametrize("gpus", [(), ("3",), ("1", "5")])
def test_a_process_sees_its_gpus_and_asks_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5")
    names = ("CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE")
    code = f"import os, json; print(json.dumps([os.environ.get(name) for name in {names}]))"
    assert json.loads(run(tmp_path, trainer(code, gpus=gpus))) == [",".join(gpus), "1"]


def test_variables_of_a_process_win_over_those_of_the_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE", "run")
    monkeypatch.setenv("OTHER", "run")
    code = "import os; print(os.environ['ONE'], os.environ['OTHER'])"
    process = Process(role="trainer", argv=("python", "-c", code), env={"ONE": "own"})
    assert run(tmp_path, process) == "own run\n"


def test_programs_are_those_of_the_environment(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in (("python", "echo $0 $PATH; helper"), ("helper", "echo helped")):
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    output = run(tmp_path, trainer(""), programs=programs)
    assert output.startswith(f"{programs / 'python'} {programs}{os.pathsep}")
    assert output.endswith("helped\n")


@pytest.mark.parametrize("keeps_output_open", [False, True])
def test_what_a_trainer_leaves_running_is_ended(tmp_path: Path, keeps_output_open: bool) -> None:
    streams = "" if keeps_output_open else ", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    code = (
        "import subprocess, sys; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']"
        f"{streams}); print(child.pid)"
    )
    assert gone(int(run(tmp_path, trainer(code))))


def start(folder: Path, code: str, role: str = "trainer") -> tuple["subprocess.Popen[bytes]", int]:
    """A launcher at work, and the process id that its trainer or server prints."""
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(folder), role, code])
    log = folder / {"trainer": "console.log", "generator": "generator.log"}[role]
    end = time.monotonic() + 60
    while not (log.is_file() and log.read_text().endswith("\n")):
        assert time.monotonic() < end
        time.sleep(0.02)
    return launcher, int(log.read_text())


@pytest.mark.parametrize(
    ("role", "code"),
    # A server is still loading: it starts first, and must not be left either.
    [("trainer", STAYS), ("trainer", STUBBORN), ("generator", STAYS)],
    ids=["polite", "stubborn", "server"],
)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_launcher_leaves_no_process(
    tmp_path: Path, role: str, code: str, how: signal.Signals
) -> None:
    launcher, pid = start(tmp_path, code, role)
    with launcher:
        launcher.send_signal(how)
        status = launcher.wait(timeout=30)
    assert status == (143 if how == signal.SIGTERM else -how)
    assert gone(pid, 30)
    # The lock of a killed launcher goes with its trainer.
    with exclusive(tmp_path):
        pass


# As torchrun starts its workers: in a session of their own.
WORKER = """
import os, subprocess, sys, time
worker = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", worker], start_new_session=True)
time.sleep(600)
"""


def test_a_killed_trainer_leaves_no_worker(tmp_path: Path) -> None:
    launcher, worker = start(tmp_path, WORKER)
    with launcher:
        os.kill(psutil.Process(worker).ppid(), signal.SIGKILL)
        assert launcher.wait(timeout=30) == 1
    assert gone(worker)


SERVER = """
import http.server, os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
time.sleep(0.5)
handler = type("Handler", (http.server.BaseHTTPRequestHandler,), {
    "do_GET": lambda self: (
        os._exit(9) if self.path == "/die" else (self.send_response(200), self.end_headers())
    ),
    "log_message": lambda self, *_: None,
})
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
"""
# Asks the server once, then says what it got.
ASKS = """
import sys, urllib.request
with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/{sys.argv[2]}") as response:
    print(response.status)
"""
# Has its server die, and stays.
DIES = """
import sys, time, urllib.error, urllib.request
try:
    urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/die")
except OSError:
    time.sleep(600)
"""


def server(code: str = SERVER) -> Process:
    return Process(
        role="generator",
        argv=("python", "-c", code, "{port:generator}"),
        gpus=("2",),
        health="http://127.0.0.1:{port:generator}/health",
    )


def test_a_server_is_there_while_it_is_needed_and_gone_after(tmp_path: Path) -> None:
    assert run(tmp_path, server(), trainer(ASKS, "{port:generator}", "anything")) == "200\n"
    pid, child, gpu = map(int, (tmp_path / "generator.log").read_text().split())
    assert gpu == 2
    assert gone(pid)
    assert gone(child)


def test_a_server_that_dies_ends_the_run_with_its_log(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(UserError) as raised:
        run(tmp_path, server(), trainer(DIES, "{port:generator}"))
    assert raised.value.where == str(tmp_path / "generator.log")
    assert re.findall(r"generator|\d+", raised.value.message) == ["generator", "9"]
    assert time.monotonic() - started < 60


# Answers that it is broken from its second health check on, as vLLM does without its engine.
BREAKS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        self.send_response(200 if Handler.asked == 1 else 503)
        self.end_headers()
    def log_message(self, *_): ...
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_server_that_breaks_ends_the_run_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_SECONDS_BETWEEN_CHECKS", 0.1)
    with pytest.raises(UserError) as raised:
        run(tmp_path, server(BREAKS), trainer(STAYS))
    assert raised.value.where == str(tmp_path / "generator.log")
    assert "generator" in raised.value.message


def test_a_server_that_fails_is_named_with_its_log(tmp_path: Path) -> None:
    code = "print('no such model', flush=True); raise SystemExit(3)"
    with pytest.raises(UserError) as raised:
        run(tmp_path, server(code), trainer("raise AssertionError"))
    assert raised.value.where == str(tmp_path / "generator.log")
    assert re.findall(r"generator|\d+", raised.value.message) == ["generator", "3"]
    assert "no such model" in (tmp_path / "generator.log").read_text()
    assert not (tmp_path / "console.log").exists()


def test_a_proxy_is_not_asked_for_a_server_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org")
    assert run(tmp_path, server(), trainer(ASKS, "{port:generator}", "anything")) == "200\n"


def test_a_foreign_server_on_the_port_is_not_used(tmp_path: Path) -> None:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    foreign = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
    )
    health = f"http://127.0.0.1:{port}/health"
    try:
        end = time.monotonic() + 60
        while psutil.Process(foreign.pid).net_connections(kind="tcp") == []:
            assert foreign.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        with pytest.raises(UserError) as raised:
            run(
                tmp_path,
                replace(server(STAYS), health=health),
                trainer("raise AssertionError"),
                patience=2,
            )
        assert raised.value.where == str(tmp_path / "generator.log")
        assert health in raised.value.message
        assert foreign.poll() is None
    finally:
        for child in psutil.Process(foreign.pid).children():
            child.kill()
        foreign.kill()
        foreign.wait()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        run(tmp_path, server(STAYS), trainer("raise AssertionError"), patience=2)
    assert raised.value.where == str(tmp_path / "generator.log")
    assert gone(int((tmp_path / "generator.log").read_text()))
