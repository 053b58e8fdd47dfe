"""Compare `snakemake -n report` on many runs with a plain Snakefile of the same shape.

The plain one has as many jobs, files and edges, and neither input functions nor a configuration. So
the ratio says what the workflow itself costs.

    python scripts/bench_dag.py                          # 12 recipes, 84 seeds, three rounds
    python scripts/bench_dag.py --seeds 10 --rounds 1    # smaller
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml

from r1zero.settings import recipe_names, resolve_run

REPOSITORY = Path(__file__).resolve().parents[1]
COPIED = ("Snakefile", "rules", "report", "profiles", "envs", "config")
PLAIN = """
RECIPES = {recipes}
SEEDS = range({seeds})
STEPS = range({steps})
RUN = "results/mini/{{recipe}}/trl/seed{{seed}}"
LOG = "{{recipe}}.seed{{seed}}.log"


wildcard_constraints:
    recipe="[a-z0-9_]+",
    seed="[0-9]+",
    step="[0-9]+",


rule report:
    input:
        expand(RUN + "/evaluations/step{{step}}.json", recipe=RECIPES, seed=SEEDS, step=STEPS),
        "results/report.pdf",


rule dataset:
    output: "datasets/{{recipe}}.json"
    log: "logs/dataset/{{recipe}}.log"
    shell: "touch {{output}}"


rule problems:
    input: "datasets/{{recipe}}.json"
    output: "problems/{{recipe}}.json"
    log: "logs/problems/{{recipe}}.log"
    shell: "touch {{output}}"


rule base:
    input: "datasets/{{recipe}}.json"
    output: "bases/{{recipe}}.json"
    log: "logs/base/{{recipe}}.log"
    shell: "touch {{output}}"


rule resolve:
    input: problems="problems/{{recipe}}.json", model="bases/{{recipe}}.json"
    output: RUN + "/run.json"
    log: "logs/resolve/" + LOG
    shell: "touch {{output}}"


rule plan:
    input: run=RUN + "/run.json"
    output: plan=RUN + "/plan/plan.json", page=RUN + "/plan/plan.md", config=RUN + "/plan/config"
    log: "logs/plan/" + LOG
    shell: "touch {{output}}"


rule train:
    input:
        run=RUN + "/run.json",
        plan=ancient(RUN + "/plan/plan.json"),
        config=ancient(RUN + "/plan/config"),
    output:
        model=RUN + "/model.json",
        metrics=RUN + "/metrics.jsonl",
        rollouts=RUN + "/rollouts.parquet",
    log: "logs/train/" + LOG
    benchmark: "benchmarks/train/{{recipe}}.seed{{seed}}.jsonl"
    threads: 4
    resources: gpu=0, mem_mb=4000, runtime="24h"
    params: checkpoints="checkpoints/{{recipe}}/seed{{seed}}"
    shell: "touch {{output}}"


rule evaluate:
    input: model=RUN + "/model.json", problems="problems/{{recipe}}.json"
    output:
        scores=RUN + "/evaluations/step{{step}}.json",
        completions=RUN + "/evaluations/step{{step}}.parquet",
    log: "logs/evaluate/step{{step}}." + LOG
    benchmark: "benchmarks/evaluate/{{recipe}}.seed{{seed}}.step{{step}}.jsonl"
    resources: gpu=0, mem_mb=4000, runtime="4h"
    shell: "touch {{output}}"


rule write_report:
    input:
        models=expand(RUN + "/model.json", recipe=RECIPES, seed=SEEDS),
        metrics=expand(RUN + "/metrics.jsonl", recipe=RECIPES, seed=SEEDS),
        rollouts=expand(RUN + "/rollouts.parquet", recipe=RECIPES, seed=SEEDS),
        evaluations=expand(
            RUN + "/evaluations/step{{step}}.json", recipe=RECIPES, seed=SEEDS, step=STEPS
        ),
    output: "results/report.pdf"
    shell: "touch {{output}}"
"""


class Cost(NamedTuple):
    """What one dry run took."""

    user: float
    """Seconds of CPU time, which other processes of the machine affect little."""
    wall: float
    """Seconds."""
    jobs: int
    """Jobs of the DAG."""


def dry_run(folder: Path, *options: str) -> Cost:
    """Run `snakemake -n report` in a folder and measure it."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", *options, "--cores", "2", "--", "report"],
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout[-2000:])
    user = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before.ru_utime
    total = next(line for line in done.stdout.splitlines() if line.startswith("total "))
    return Cost(user, time.monotonic() - started, int(total.split()[1]))


def main() -> None:
    """Measure both in turn and print the seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", type=int, default=12, help="Number of recipes.")
    parser.add_argument("--seeds", type=int, default=84, help="Number of seeds.")
    parser.add_argument("--rounds", type=int, default=3, help="Dry runs of each kind.")
    options = parser.parse_args()
    names = recipe_names(REPOSITORY / "config")[: options.recipes]
    runs = [
        resolve_run(name, scale="mini", backend="trl", seed=0, folder=REPOSITORY / "config")
        for name in names
    ]
    steps = round(sum(len(run.evaluated_steps) for run in runs) / len(runs))
    with tempfile.TemporaryDirectory() as root:
        product, plain = Path(root, "product"), Path(root, "plain")
        for folder in (product, plain):
            folder.mkdir()
        for name in COPIED:
            (product / name).symlink_to(REPOSITORY / name)
        config = {"recipes": names, "seeds": list(range(options.seeds))}
        (product / "runs.yaml").write_text(yaml.safe_dump(config))
        text = PLAIN.format(recipes=names, seeds=options.seeds, steps=steps)
        (plain / "Snakefile").write_text(text)
        print("       product            plain             ratio of user CPU")
        for _ in range(options.rounds):
            ours = dry_run(product, "--configfile", "runs.yaml")
            theirs = dry_run(plain)
            print(
                f"{ours.jobs:6} jobs {ours.user:6.2f} s  "
                f"{theirs.jobs:6} jobs {theirs.user:6.2f} s  {ours.user / theirs.user:6.2f}   "
                f"(wall {ours.wall:.1f} s, {theirs.wall:.1f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
