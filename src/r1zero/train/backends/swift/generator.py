"""The generator of the backend `swift` on GPUs of its own: `swift rollout` on a rendered file.

Started in `.envs/swift` as `-m r1zero.train.backends.swift.generator CONFIG --host H --port P`. It
registers the template of the trainer, so that prompts have the same tokens.
"""

import argparse
from pathlib import Path

from r1zero.core.validation import read_yaml
from r1zero.train.backends.swift.entrypoint import type_of, words


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="The run's rollout.yaml.")
    parser.add_argument("--host", required=True, help="Address to listen on.")
    parser.add_argument("--port", required=True, help="Port to listen on.")
    options = parser.parse_args()
    config = read_yaml(options.config)
    config |= {"model_type": type_of(Path(config["model"])), "host": options.host}
    config |= {"port": options.port}

    from swift.pipelines import rollout_main

    from r1zero.train.backends.swift.plugin import install_template

    install_template()
    rollout_main(words(config))


if __name__ == "__main__":
    main()
