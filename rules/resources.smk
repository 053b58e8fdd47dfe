"""What jobs ask for: cores and memory. A change of it makes nothing anew."""

from r1zero.plan.cost import evaluation_memory_of, host_memory_of
from r1zero.plan.search import lay_out


def share_of_cores(trainings):
    """Cores for each of so many trainings, of which none gains from more than four.

    On a CPU many side by side with one core each end sooner than one after the other on all.
    """
    here = workflow.local_exec and not workflow.remote_exec and gpus == 0
    return max(1, min(4, workflow.cores // max(1, trainings))) if here else 4


def wanted_runs():
    """Runs that the targets of the command line are made of; other targets want what is selected."""
    names = [
        name
        for target in workflow.dag_settings.targets or ["report"]
        for name in trained_by.get(target, selected)
    ]
    return {run for name in names for run in runs_of(name)}


def training_threads(wildcards):
    """Cores for a training."""
    return share_of_cores(len(wanted_runs()))


def base_threads(wildcards):
    """Cores for a base."""
    return share_of_cores(len({settings_of(run).model for run in wanted_runs()}))


def training_memory(wildcards):
    """Memory that a training takes on a node, in 10^6 bytes.

    Of a run without a layout nothing is asked: it never starts.
    """
    run = settings_of(wildcards)
    architecture = sizes_of_model(run)
    layout = lay_out(run, machine, architecture, hardware)
    return host_memory_of(layout, machine, architecture) // 10**6 if layout.feasible else 0


def evaluation_memory(wildcards):
    """Memory that an evaluation takes, in 10^6 bytes."""
    architecture = sizes_of_model(settings_of(wildcards))
    return evaluation_memory_of(architecture, on_gpu=gpus > 0) // 10**6
