"""Functions that `workers.Workers` calls in its processes, most of them badly behaved."""

import ctypes
import os
import signal
import sys
import time
from typing import Any


def double(number: Any) -> Any:
    return number * 2


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def wait_and_work(seconds: tuple[float, float]) -> str:
    wait, work = seconds
    time.sleep(wait)
    end = time.process_time() + work
    while time.process_time() < end:
        pass
    return "done"


def process_id(item: Any) -> int:
    return os.getpid()


def modules(item: Any) -> list[str]:
    return sorted(sys.modules)


def misbehave(how: str) -> str:
    match how:
        case "raise":
            raise ValueError("two\nlines of it")
        case "hang in C":
            pow(7, 10**10)
        case "ignore signals":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(1000)
        case "fill the memory":
            _ = bytearray(10**12)
        case "grow":
            pieces = []
            while True:
                pieces.append(bytearray(10**7))
        case "crash":
            ctypes.string_at(0)
        case "exit":
            sys.exit(3)
        case "recur":
            return misbehave(how)
        case "return a function":
            return lambda: None  # type: ignore[return-value]
        case "print":
            print("printed by a worker", flush=True)
    return "well"
