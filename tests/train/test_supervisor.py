"""The launcher: what a trainer is given, what it leaves behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from r1zero.core.errors import UserError
from r1zero.train.checkpoints import exclusive
from r1zero.train.supervisor import launch, serve

# Holds the folder as `r1zero train` does, and starts a trainer that says its process id and stays.
LAUNCHER = """
import sys
from pathlib import Path
from r1zero.train.checkpoints import exclusive
from r1zero.train.supervisor import launch, serve

folder, trainer = Path(sys.argv[1]), sys.argv[2]
with exclusive(folder):
    launch([sys.executable, "-c", trainer], gpus=0, log=folder / "console.log")
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


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


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
    log = tmp_path / "console.log"
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    for _ in range(2):
        launch(python(code), gpus=0, log=log)
    assert log.read_text() == "out\nerr\n" * 2
    assert capfdbinary.readouterr().out == b"out\nerr\n" * 2


def test_a_failure_names_status_and_log(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    with pytest.raises(UserError) as raised:
        launch(python("print('why', flush=True); raise SystemExit(7)"), gpus=0, log=log)
    assert str(raised.value) == f"{log}: the trainer failed with status 7"
    assert log.read_text() == "why\n"


def test_a_run_without_gpus_sees_none_and_asks_no_hub(tmp_path: Path) -> None:
    names = ("CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE")
    code = f"import os, json; print(json.dumps([os.environ.get(name) for name in {names}]))"
    launch(python(code), gpus=0, log=tmp_path / "console.log")
    assert json.loads((tmp_path / "console.log").read_text()) == ["", "1"]


def test_a_run_with_gpus_keeps_those_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    launch(python(code), gpus=1, log=tmp_path / "console.log")
    assert (tmp_path / "console.log").read_text() == "3\n"


def test_threads_that_were_asked_for_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    code = "import os; print(os.environ['OMP_NUM_THREADS'])"
    launch(python(code), gpus=0, log=tmp_path / "console.log")
    assert (tmp_path / "console.log").read_text() == "7\n"


def test_what_a_trainer_leaves_running_is_ended(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    # The child keeps none of our pipes open, or the launcher would wait for it.
    code = (
        "import subprocess, sys; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
        "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(child.pid)"
    )
    launch(python(code), gpus=0, log=log)
    assert gone(int(log.read_text()))


def start(folder: Path, trainer: str) -> tuple["subprocess.Popen[bytes]", int]:
    """A launcher at work, and the process that its trainer named."""
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(folder), trainer], stdout=subprocess.PIPE
    )
    assert launcher.stdout is not None
    return launcher, int(launcher.stdout.readline())


@pytest.mark.parametrize("trainer", [STAYS, STUBBORN], ids=["polite", "stubborn"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_launcher_leaves_no_process(
    tmp_path: Path, trainer: str, how: signal.Signals
) -> None:
    launcher, pid = start(tmp_path, trainer)
    with launcher:
        launcher.send_signal(how)
        status = launcher.wait(timeout=30)
    assert status == (143 if how == signal.SIGTERM else -signal.SIGINT)
    assert gone(pid)
    with exclusive(tmp_path):
        pass


def test_while_a_trainer_lives_no_other_may_start(tmp_path: Path) -> None:
    launcher, pid = start(tmp_path, STAYS)
    with launcher:
        launcher.kill()
        launcher.wait()
    try:
        if is_alive(pid):
            with pytest.raises(UserError, match="another trainer"), exclusive(tmp_path):
                pass
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


SERVER = """
import http.server, os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
time.sleep(0.5)
handler = type("Handler", (http.server.BaseHTTPRequestHandler,), {
    "do_GET": lambda self: (self.send_response(200), self.end_headers()),
    "log_message": lambda self, *_: None,
})
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_is_there_while_it_is_needed_and_gone_after(tmp_path: Path) -> None:
    log, port = tmp_path / "vllm.log", free_port()
    health = f"http://127.0.0.1:{port}/health"
    with serve(
        [*python(SERVER), str(port)],
        environment={"CUDA_VISIBLE_DEVICES": "2"},
        health=health,
        log=log,
    ):
        with urllib.request.urlopen(health) as response:
            assert response.status == 200
        server, child, cards = map(int, log.read_text().split())
        assert cards == 2
        assert is_alive(server)
    assert gone(server)
    assert gone(child)


def test_a_server_that_fails_is_named_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "vllm.log"
    code = "print('no such model', flush=True); raise SystemExit(3)"
    health = f"http://127.0.0.1:{free_port()}/health"
    server = serve(python(code), environment={}, health=health, log=log)
    with pytest.raises(UserError, match="the server ended with status 3") as raised, server:
        pytest.fail("it never answered")
    assert raised.value.where == str(log)
    assert "no such model" in log.read_text()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    log = tmp_path / "vllm.log"
    health = f"http://127.0.0.1:{free_port()}/health"
    server = serve(python(STAYS), environment={}, health=health, log=log, patience=2)
    with pytest.raises(UserError, match=r"no answer at .* in 2 s"), server:
        pytest.fail("it never answered")
    assert gone(int(log.read_text()))
