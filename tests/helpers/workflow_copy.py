"""Run Snakemake on a copy of the workflow, so that no test touches the results of the checkout."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tiny import ENVIRONMENT, REPOSITORY

PARTS = ("Snakefile", "rules", "report", "profiles", "envs", "config")


def copy_workflow(folder: Path, config: Path | None = None) -> Path:
    """Copy rules and configuration, or rules and another configuration, into a new folder."""
    folder.mkdir()
    for name in PARTS:
        source = config if config and name == "config" else REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / name)
    return folder


def link_environments(workflow: Path) -> Path:
    """Let a copy of the workflow make and use the environments of the checkout."""
    (REPOSITORY / ".envs").mkdir(exist_ok=True)
    (workflow / ".envs").symlink_to(REPOSITORY / ".envs", target_is_directory=True)
    return workflow


def snakemake(
    folder: Path, *arguments: str, config: dict[str, Any] | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run Snakemake there; `config` is what a user adds with `--configfile`.

    Output and errors come together: a dry run prints errors to standard output.
    """
    options = list(arguments)
    if config is not None:
        (folder / "my.yaml").write_text(yaml.safe_dump(config))
        options += ["--configfile", "my.yaml"]
    programs = Path(sys.executable).parent
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *options],
        cwd=folder,
        env={
            **ENVIRONMENT,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )


def jobs_of(output: str) -> Counter[str]:
    """Jobs by rule, from the table that Snakemake prints before it starts."""
    table = output.partition("Job stats:\n")[2].partition("\ntotal")[0]
    rows = re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)
    return Counter({rule: int(count) for rule, count in rows})
