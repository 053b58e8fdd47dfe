"""What the rules share: one `Workflow`, and functions that ask it with the wildcards of a job."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from shlex import quote

from r1zero.core.errors import UserError
from r1zero.core.files import write_json
from r1zero.workflow import Limits, Run, Workflow


def or_exit(function, *args, **kwargs):
    """Call a function; an error that the user can mend ends Snakemake with one line."""
    try:
        return function(*args, **kwargs)
    except UserError as error:
        # Snakemake would print the lines of this file with a WorkflowError.
        sys.exit(f"error: {error}")


# Whether jobs run on this machine. `workflow.local_exec` is always true while the Snakefile is
# read; only an executor for a cluster has a number of jobs.
here = workflow.resource_settings.nodes is None and not workflow.remote_exec
flow = or_exit(Workflow, config, here=here)
# Snakemake only counts GPUs. By default as many are in use at once as there are here, so that jobs
# share none.
if here and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", max(flow.gpus, 1))
os.environ.update(flow.environment)


def of(method, *names):
    """Function of the wildcards that calls `method` with some of them."""
    return lambda wildcards: or_exit(method, *(wildcards[name] for name in names))


def of_run(method, *names):
    """Function of the wildcards that calls `method` with the run, and with more of them."""
    return lambda wildcards: or_exit(
        method, Run.of(wildcards), *(wildcards[name] for name in names)
    )


@cache
def limits():
    """Limits of the partitions of a cluster, which are known only after the rules were read."""
    return or_exit(Limits, getattr(workflow.executor_settings, "partition_config", None))


def limited(resource, amount, gpus):
    """Function of the wildcards for a resource: more in each attempt, as far as a partition goes.

    Args:
        resource: Name of the resource.
        amount: What the first attempt wants, or a function of the wildcards for it.
        gpus: GPUs of the same job, or a function of the wildcards for them.

    """

    def ask(wildcards, attempt):
        wanted = amount(wildcards) if callable(amount) else amount
        there = gpus(wildcards) if callable(gpus) else gpus
        return limits().cut(resource, wanted * attempt, gpus=there)

    return ask
