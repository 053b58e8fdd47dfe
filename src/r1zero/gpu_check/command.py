"""`python -m r1zero gpu-check`: measure this machine's GPU, part by part, within some minutes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from r1zero.core.errors import UserError
from r1zero.core.files import read_json, write_json
from r1zero.core.provenance import provenance
from r1zero.doctor.checks import examine
from r1zero.gpu_check import mini
from r1zero.plan.driver import find_driver
from r1zero.plan.machine import count_gpus, visible_gpus

_RESULTS = Path("docs/hardware")
_SHAPES = ("qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-3b")
_TINY_SHAPE = "tiny"
_MEASURE = "r1zero.gpu_check.measure"


class _TimeIsUp(Exception):
    """A part was ended at the deadline."""


class _Failed(Exception):
    """A program of a part failed; the message is what it said."""


class Part(NamedTuple):
    """One part of the check."""

    name: str
    least_seconds: float
    """Time that has to be left for it to begin: a guess at what it takes on a large GPU."""
    run: Callable[[], dict[str, Any]]


class Check:
    """The parts, and what they share.

    Args:
        device: `cuda`, or `cpu` for a dress rehearsal of the smallest sizes.
        work: Folder for intermediate files.
        deadline: Time by `time.monotonic` at which every part has to have ended.

    """

    def __init__(self, device: mini.Device, work: Path, deadline: float) -> None:
        self.device, self.work, self.deadline = device, work, deadline
        self.tiny = device == "cpu"
        self._config: Path | None = None
        self._env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        if device == "cuda":
            self._env["CUDA_VISIBLE_DEVICES"] = (visible_gpus() or ["0"])[0]

    @property
    def parts(self) -> list[Part]:
        """All parts, the most valuable first."""
        shapes = (_TINY_SHAPE,) if self.tiny else _SHAPES
        return [
            Part("doctor", 0, self._doctor),
            Part(shapes[0], 30, partial(self._measure, shapes[0])),
            Part("mini", 120, partial(self._mini, mini.end_to_end)),
            *(Part(name, 40, partial(self._measure, name)) for name in shapes[1:]),
            Part("base", 60, partial(self._mini, partial(mini.pretrain, base=mini.LARGE_BASE))),
        ]

    def _doctor(self) -> dict[str, Any]:
        # The hubs are not asked: the check uses no network.
        lines = list(examine([], Path("checkpoints"), offline=True))
        failed = [line.check for line in lines if line.state == "failure"]
        return {"failed": failed, "lines": [line._asdict() for line in lines]}

    def _measure(self, name: str) -> dict[str, Any]:
        out = self.work / f"{name}.json"
        self._python("-m", _MEASURE, name, self.device, out)
        found: dict[str, Any] = read_json(out)
        return found

    def _mini(self, run: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        if self._config is None:
            self._config = mini.write_config(self.work / "config", tiny=self.tiny)
        return run(self._stage, self.work, self._config, self.device)

    def _stage(self, *arguments: object) -> None:
        self._python("-m", "r1zero", *arguments)

    def _python(self, *arguments: object) -> None:
        """Run a program of this Python to its end, or until the deadline.

        Raises:
            _TimeIsUp: It was ended.
            _Failed: Its status is not 0.

        """
        command = [sys.executable, *map(str, arguments)]
        left = self.deadline - time.monotonic()
        process = subprocess.Popen(
            command,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            said, _ = process.communicate(timeout=max(0.1, left))
        except subprocess.TimeoutExpired:
            # A training ends its own processes.
            process.terminate()
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            raise _TimeIsUp from None
        if process.returncode:
            raise _Failed(said.strip() or f"status {process.returncode}")


def gpu_check(
    minutes: Annotated[float, typer.Option(help="Time for all parts.", min=0.1)] = 6.0,
    device: Annotated[
        str, typer.Option(help="cuda, or cpu for a dress rehearsal of the smallest sizes.")
    ] = "cuda",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the results. Default: docs/hardware/<GPU>."),
    ] = None,
) -> None:
    """Measure the GPU of this machine; status 1 if a part fails, 2 without a GPU.

    Parts run in the order of their worth, and each writes its file as it ends: what the doctor
    says; memory and speed of Qwen2.5 with random weights against the plan's; scale mini from
    pre-training to its evaluation; a larger base.
    """
    if device not in ("cpu", "cuda"):
        raise UserError(f"'{device}' is neither cuda nor cpu", where="--device")
    hardware = _hardware(device)
    folder = out or _RESULTS / hardware["name"].lower().replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    states: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as work:
        deadline = time.monotonic() + 60 * minutes
        check = Check("cuda" if device == "cuda" else "cpu", Path(work), deadline)
        for part in check.parts:
            states[part.name] = _run(part, check, folder, hardware)
            print(f"{part.name}: {states[part.name]}", flush=True)
    print("\n" + table(folder, list(states)))
    print(f"\nresults: {folder}")
    failed = [name for name, state in states.items() if state.startswith("failed")]
    raise typer.Exit(1 if failed else 0)


def _run(part: Part, check: Check, folder: Path, hardware: Mapping[str, Any]) -> str:
    """Run a part unless too little time is left, write its file, and say how it ended."""
    file = folder / f"{part.name}.json"
    for earlier in (file, file.with_suffix(".log")):
        earlier.unlink(missing_ok=True)
    left = check.deadline - time.monotonic()
    if left < part.least_seconds:
        return f"left out: {left:.0f} s are left, it takes about {part.least_seconds:.0f}"
    started = time.monotonic()
    try:
        found = part.run()
    except _TimeIsUp:
        return "left out: it did not end in time"
    except _Failed as error:
        log = file.with_suffix(".log")
        log.write_text(f"{error}\n", encoding="utf-8")
        *_, last = str(error).splitlines()
        return f"failed: {last} ({log})"
    seconds = round(time.monotonic() - started, 1)
    write_json(file, {"part": part.name, "seconds": seconds, "hardware": hardware, **found})
    return f"done in {seconds:g} s"


def _hardware(device: str) -> dict[str, Any]:
    """Device, driver and versions, as every result file has them.

    Raises:
        UserError: There is no GPU.

    """
    common = {
        "device": device,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "pinned_torch": _pinned_torch(),
        "provenance": provenance(),
    }
    if device == "cpu":
        return {"name": "cpu rehearsal", **common}
    driver = find_driver()
    if driver is None or not driver.devices or count_gpus("auto") == 0:
        raise UserError(
            "no GPU that can be used",
            where="gpu-check",
            hint="`r1zero doctor` says why; --device cpu rehearses on the CPU",
        )
    visible = visible_gpus()
    first = int(visible[0]) if visible and visible[0].isdecimal() else 0
    gpu = driver.devices[min(first, len(driver.devices) - 1)]
    return {
        "name": gpu.name.removeprefix("NVIDIA "),
        "memory_bytes": gpu.total,
        "free_bytes": gpu.free,
        "driver": driver.version,
        "cuda_of_driver": ".".join(map(str, driver.cuda)),
        **common,
    }


def _pinned_torch() -> str | None:
    """The version of torch that the lock names; another may be used here."""
    lock = Path("requirements.lock")
    lines = lock.read_text(encoding="utf-8").splitlines() if lock.is_file() else []
    return next((line.split()[0][7:] for line in lines if line.startswith("torch==")), None)


def table(folder: Path, parts: list[str]) -> str:
    """What the result files of a folder say, one line for each part that has one.

    Args:
        folder: Folder of the results.
        parts: Names in their order.

    """
    lines = []
    for name in parts:
        file = folder / f"{name}.json"
        if file.is_file():
            lines += [f"{name:14} {text}" for text in _lines(json.loads(file.read_text()))]
    return "\n".join(lines) or "no part has ended"


def _lines(found: Mapping[str, Any]) -> list[str]:
    if "lines" in found:
        return [f"{len(found['failed'])} failures {', '.join(found['failed'])}".strip()]
    if "update" in found:
        return [_measured(way, found[way]) for way in ("generation", "update")]
    if "accuracy" in found:
        before, after = found["accuracy"].values()
        layout = found["layout"]
        return [
            f"accuracy {before:.1%} to {after:.1%} in {found['steps']} steps of "
            f"{found['seconds_per_step']:.2f} s, {layout['placement']}, {layout['compute_dtype']}"
        ]
    return [
        f"{found['parameters'] / 1e6:.1f} M parameters, loss {found['loss']}, "
        f"{found['tokens_per_second']:,.0f} tokens/s"
    ]


def _measured(way: str, found: Mapping[str, Any]) -> str:
    peak, said = found["peak_bytes"] / 2**30, found["said_bytes"] / 2**30
    speed, estimate = found["tokens_per_second"], found["estimated_tokens_per_second"]
    text = f"{way:11} {peak:8.3f} GiB, planned {said:8.3f} ({said / peak - 1:+.0%}); "
    text += f"{speed:10,.0f} tokens/s"
    return text + (f", estimated {estimate:,.0f}" if estimate else "")
