"""The checks of `r1zero doctor`: each looks at one thing and says what to do about it.

A check never raises for what it finds, and never repeats the value of a token.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

from r1zero.core.errors import UserError, read_secret, redact
from r1zero.core.formatting import size
from r1zero.core.host import (
    LEAST_SHARED_MEMORY,
    abandoned_builds,
    free_shared_memory,
    missing_build_tools,
)
from r1zero.plan.driver import (
    Driver,
    cuda_of_torch,
    find_driver,
    torch_problem,
    without_bfloat16,
)
from r1zero.plan.machine import visible_gpus
from r1zero.settings.endpoints import Endpoint, HuggingFaceEndpoint, LocalEndpoint

State = Literal["ok", "warning", "failure"]

_GIB = 1 << 30
_TOKENS = ("HF_TOKEN", "MODELSCOPE_API_TOKEN", "SWANLAB_API_KEY", "WANDB_API_KEY")
# Free bytes below which a machine is short: a mini training takes 4 GiB of memory, and the
# checkpoints of a run at mini scale half a gigabyte of disk.
_LEAST_MEMORY = 4 * _GIB
_LEAST_DISK = 5 * 10**9
_TIMEOUT = 5.0
_INSTALL = "make install TORCH=cuda VLLM=1"


class Line(NamedTuple):
    """What one check found."""

    check: str
    """What was looked at."""
    state: State
    """`failure` if runs on this machine will fail, `warning` if some will."""
    found: str
    """What is there."""
    todo: str = ""
    """What to do about it."""


def examine(
    endpoints: Sequence[Endpoint], checkpoints: Path, *, offline: bool = False
) -> Iterator[Line]:
    """All checks, in the order of the page.

    Args:
        endpoints: Those of the configuration.
        checkpoints: Folder of the checkpoints, which need not exist.
        offline: Whether the configuration forbids networks.

    """
    driver = find_driver()
    yield gpus(driver)
    yield torch(driver)
    yield vllm(driver)
    yield deepspeed(driver)
    yield memory()
    yield shared_memory(free_shared_memory(), driver)
    yield disk(checkpoints)
    yield ports()
    if not offline:
        with ThreadPoolExecutor(max(1, len(endpoints))) as pool:
            yield from pool.map(endpoint, endpoints)
    named = [getattr(each, "token_from", None) for each in endpoints]
    yield tokens(dict.fromkeys([*_TOKENS, *(name for name in named if name)]))
    yield slurm()


def gpus(driver: Driver | None) -> Line:
    """GPUs that the driver finds, with their memory."""
    if driver is None or not driver.devices:
        return Line(
            "GPUs",
            "warning",
            "none" if driver is None else f"the driver {driver.version} finds none",
            "scale mini needs none; for another look at nvidia-smi",
        )
    found = "; ".join(
        f"{each.name}, {each.free / _GIB:.1f} of {each.total / _GIB:.1f} GiB free"
        for each in driver.devices
    )
    visible = visible_gpus()
    numbers = [int(gpu) for gpu in visible if gpu.isdecimal()]
    if any(number >= len(driver.devices) for number in numbers):
        return Line(
            "GPUs",
            "failure",
            f"{found}; CUDA_VISIBLE_DEVICES is {','.join(visible)}",
            f"GPUs are numbered from 0 to {len(driver.devices) - 1}",
        )
    if "CUDA_VISIBLE_DEVICES" in os.environ and not visible:
        return Line("GPUs", "warning", f"{found}; all hidden", "unset CUDA_VISIBLE_DEVICES")
    old = without_bfloat16(driver)
    if old:
        capabilities = ", ".join(".".join(map(str, each.capability)) for each in old)
        found = f"{found}; compute capability {capabilities}"
        todo = "bfloat16, which paper runs compute in, vLLM and flash attention need 8.0"
        return Line("GPUs", "failure", found, todo)
    if any(each.free < 0.9 * each.total for each in driver.devices):
        todo = "other processes hold memory: plans count on a whole GPU; see nvidia-smi"
        return Line("GPUs", "warning", found, todo)
    return Line("GPUs", "ok", found)


def torch(driver: Driver | None) -> Line:
    """Whether the installed torch can use the driver."""
    try:
        cuda = cuda_of_torch()
    except ModuleNotFoundError:
        return Line("torch", "failure", "not installed", "make install")
    built = f"CUDA {cuda[0]}.{cuda[1]}" if cuda else "no CUDA"
    found = f"{version('torch')}, built for {built}"
    if driver is None or not driver.devices:
        return Line("torch", "ok", found)
    problem = torch_problem(driver, cuda)
    if problem:
        todo = "make install TORCH=cuda" if cuda is None else "install a newer driver"
        return Line("torch", "failure", problem, todo)
    known = f"{driver.cuda[0]}.{driver.cuda[1]}"
    return Line("torch", "ok", f"{found}; the driver {driver.version} knows CUDA {known}")


def vllm(driver: Driver | None) -> Line:
    """Whether vLLM is there, where it is of use."""
    if importlib.util.find_spec("vllm"):
        return Line("vLLM", "ok", version("vllm"))
    if driver is None:
        return Line("vLLM", "ok", "not installed; of no use without a GPU")
    found = "not installed: the trainers generate by themselves, more slowly"
    return Line("vLLM", "warning", found, _INSTALL)


def deepspeed(driver: Driver | None) -> Line:
    """DeepSpeed, and the tools that it compiles its optimizers with."""
    if importlib.util.find_spec("deepspeed") is None:
        if driver is None:
            return Line("DeepSpeed", "ok", "not installed; of no use without a GPU")
        found = "not installed: plans that shard or offload need it"
        return Line("DeepSpeed", "warning", found, _INSTALL)
    missing = missing_build_tools()
    if missing:
        found = f"{version('deepspeed')}; no {' and no '.join(missing)}"
        todo = "offload compiles an optimizer: install a C++ compiler and ninja"
        return Line("DeepSpeed", "warning", found, todo)
    abandoned = abandoned_builds()
    if abandoned:
        found = f"{version('deepspeed')}; a killed build left {abandoned[0]}"
        return Line("DeepSpeed", "failure", found, "delete the file: every build waits for it")
    return Line("DeepSpeed", "ok", f"{version('deepspeed')}, with a C++ compiler and ninja")


def memory() -> Line:
    """Memory of the host."""
    import psutil

    here = psutil.virtual_memory()
    found = f"{here.available / _GIB:.1f} of {here.total / _GIB:.1f} GiB free"
    if here.available < _LEAST_MEMORY:
        todo = f"a training of scale mini takes {_LEAST_MEMORY / _GIB:.0f} GiB"
        return Line("memory", "warning", found, todo)
    return Line("memory", "ok", found)


def shared_memory(free: int | None, driver: Driver | None) -> Line:
    """Shared memory, which NCCL and vLLM pass tensors through.

    Args:
        free: Its free bytes; None if there is none.
        driver: The driver: without one, nothing passes tensors.

    """
    name, found = "shared memory", "none" if free is None else f"{size(free)} free"
    if (free or 0) >= LEAST_SHARED_MEMORY:
        return Line(name, "ok", found)
    several = driver is not None and len(driver.devices) > 1
    todo = f"several GPUs want {size(LEAST_SHARED_MEMORY)}: docker run --shm-size=8g"
    return Line(name, "failure" if several else "warning", found, todo)


def disk(folder: Path) -> Line:
    """Disk under the folder of checkpoints, or under its nearest parent that exists."""
    here = folder.absolute()
    while not here.exists():
        here = here.parent
    name = f"disk of {folder}"
    if not here.is_dir():
        return Line(name, "failure", f"{here} is no folder", "move the file, or make a folder")
    free = shutil.disk_usage(here).free
    if not os.access(here, os.W_OK):
        return Line(name, "failure", f"{here} cannot be written", "change its permissions")
    if free < _LEAST_DISK:
        todo = "a plan shows the disk that a run takes; hardware.disk_gb limits it"
        return Line(name, "warning", f"{size(free)} free", todo)
    return Line(name, "ok", f"{size(free)} free")


def ports() -> Line:
    """Whether processes of this machine can listen on the loopback interface."""
    try:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            with socket.create_connection(listener.getsockname(), timeout=_TIMEOUT):
                return Line("ports", "ok", "a free one on 127.0.0.1 answers")
    except OSError as error:
        todo = "several processes of a training talk over 127.0.0.1: allow it"
        return Line("ports", "failure", redact(str(error)), todo)


def endpoint(wanted: Endpoint) -> Line:
    """Whether an endpoint answers; any answer will do, since a hub may refuse its front page."""
    if isinstance(wanted, LocalEndpoint):
        if wanted.local.is_dir():
            return Line(f"local {wanted.local}", "ok", "is a folder")
        return Line(f"local {wanted.local}", "warning", "no such folder", "correct `endpoints`")
    import httpx

    if isinstance(wanted, HuggingFaceEndpoint):
        kind, address = "huggingface", wanted.huggingface
        if address == "auto":
            address = os.environ.get("HF_ENDPOINT", "") or "https://huggingface.co"
    else:
        kind, address = "modelscope", wanted.modelscope
    name = redact(f"{kind} {address}")
    try:
        answer = httpx.head(address, timeout=min(_TIMEOUT, wanted.timeout))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        found = redact(f"no answer: {type(error).__name__} {error}")
        todo = "remove it from `endpoints`, or set a proxy; another one may do"
        return Line(name, "warning", found, todo)
    return Line(name, "ok", f"answers with status {answer.status_code}")


def tokens(variables: Sequence[str] | dict[str, None]) -> Line:
    """Which tokens are set; their values are never shown."""
    found = []
    for variable in variables:
        try:
            if read_secret(variable):
                found.append(variable)
        except UserError as error:
            return Line("tokens", "failure", f"{variable} {error.message}", "set it again")
    return Line("tokens", "ok", f"set: {', '.join(found)}" if found else "none set")


def slurm() -> Line:
    """Whether SLURM's programs are here, and its controller answers."""
    if not shutil.which("sbatch") or not shutil.which("sinfo"):
        return Line("SLURM", "ok", "not here; jobs run on this machine")
    try:
        asked = subprocess.run(
            ["sinfo", "--noheader", "--format=%P %D %G"],
            capture_output=True,
            text=True,
            timeout=4 * _TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Line("SLURM", "warning", redact(f"sinfo: {error}"), "ask its administrators")
    if asked.returncode:
        # Its last line is the conclusion of those before it.
        *_, said = ["no message", *asked.stderr.splitlines()]
        return Line("SLURM", "warning", redact(said), "ask its administrators")
    partitions = "; ".join(" ".join(line.split()) for line in asked.stdout.splitlines())
    return Line("SLURM", "ok", f"partitions, nodes and GPUs: {partitions}")
