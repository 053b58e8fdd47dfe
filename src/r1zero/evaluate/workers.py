"""Several processes that generate the chunks of one evaluation, each with a copy of the model.

A process is given names of chunks, whose content does not depend on the process. It is started as
`-m r1zero.evaluate.workers WORK NAME...`.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from r1zero.core.errors import UserError
from r1zero.core.files import read_json, write_json
from r1zero.evaluate.chunks import Chunks
from r1zero.evaluate.engines import open_engine
from r1zero.evaluate.engines.base import Decoding, EngineName, Model
from r1zero.evaluate.generate import Work
from r1zero.plan.backend import Process
from r1zero.train.supervisor import supervise


def generate_in_processes(
    processes: int,
    gpus: Sequence[str],
    model: Model,
    engine: EngineName | None,
    work: Work,
    finished: Chunks,
) -> None:
    """Generate all chunks that are not finished.

    The processes end with this one, however it ends, and it fails when one of them does.

    Args:
        processes: Processes; no more are started than there are chunks to generate.
        gpus: GPUs, which are divided evenly.
        model: The model.
        engine: The engine to use instead of the one that `open_engine` chooses.
        work: What to generate.
        finished: Finished chunks, to which new chunks are added.

    Raises:
        UserError: A process failed; names the log of all of them.

    """
    missing = [chunk.name for chunk in work.chunks() if chunk.name not in finished]
    each = len(gpus) // processes
    file = finished.folder / "work.json"
    content = {
        "key": finished.key,
        "model": {**asdict(model), "folder": str(model.folder.absolute())},
        "engine": engine,
        "work": asdict(work) | {"decoding": work.decoding._asdict()},
    }
    write_json(file, content)
    started = [
        Process(
            role="evaluator",
            argv=("python", "-m", __name__, str(file), *missing[number::processes]),
            gpus=tuple(gpus[number * each : (number + 1) * each]),
        )
        for number in range(min(processes, len(missing)))
    ]
    if started:
        supervise(started, finished.folder)


def main(file: Path, names: Sequence[str]) -> None:
    """Generate some chunks of a work."""
    content = read_json(file)
    model = Model(
        **content["model"]
        | {
            "folder": Path(content["model"]["folder"]),
            "stop_token_ids": tuple(content["model"]["stop_token_ids"]),
        }
    )
    work = Work(**content["work"] | {"decoding": Decoding(**content["work"]["decoding"])})
    finished = Chunks(file.parent, content["key"])
    engine = open_engine(model, content["engine"])
    for chunk in work.chunks():
        if chunk.name in names:
            chunk.draw(engine, finished)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2:])
    except UserError as error:
        sys.exit(f"error: {error}")
