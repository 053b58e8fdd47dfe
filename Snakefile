"""R1-Zero replication as a DAG: from a fresh machine to a paper-style report.

`snakemake --list-target-rules` is the menu, `config/README.md` the manual.
"""

from snakemake.utils import min_version

min_version("9.27.0")


# What to run. `Workflow` in rules/common.smk checks it before any job starts.


configfile: "config/config.yaml"


wildcard_constraints:
    scale="[a-z0-9_]+",
    recipe="[a-z0-9_]+(-[a-z0-9_.+-]+)?",
    backend="[a-z]+",
    seed="[0-9]+(_base[0-9]+)?",
    dataset="[a-z0-9_]+",
    model="[a-z0-9_.-]+",
    prompt="[a-z0-9_]+",
    suite="[a-z0-9_]+",
    base=r"[a-z0-9_]+(\.seed[0-9]+)?",
    step="[0-9]+",
    report="report|report_all|claims",


# How: one file per stage, in the order of the data flow.


include: "rules/common.smk"
include: "rules/preflight.smk"
include: "rules/sources.smk"
include: "rules/data.smk"
include: "rules/pretrain.smk"
include: "rules/plan.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/released.smk"
include: "rules/report.smk"


# Targets. The first is what plain `snakemake` makes.


rule report:
    """Train, evaluate and report every selected run."""
    input:
        flow.finished("report"),
    localrule: True


include: "rules/targets.smk"
