"""Train: the only long stage, and the environments of backends that cannot share the main one.

Needs: results/<run>/run.json, and the plan (a new layout of the same run does not train again).
Makes: results/<run>/model.json (checkpoints with hashes, cost, provenance), metrics.jsonl
       and rollouts.parquet.
       Checkpoints go to checkpoints/<run>/, which is not a declared output: Snakemake deletes those
       before a retry, and an interrupted run goes on from its last checkpoint.
       A job that outlived a killed Snakemake is waited for.
       .envs/<name>/ from envs/<name>.lock, only for a backend that names it.
"""


rule environment:
    """A virtual environment with the packages of a lock."""
    input:
        "envs/{environment}.lock",
    output:
        ".envs/{environment}/installed.json",
    log:
        "logs/train/{environment}.environment.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    shell:
        r"""
        python -m r1zero environment {input:q} --out "$(dirname {output:q})" 2>&1 | tee {log:q}
        """


rule train:
    """Train one run with GRPO."""
    input:
        run="results/{scale}/{recipe}/{backend}/seed{seed}/run.json",
        plan=ancient("results/{scale}/{recipe}/{backend}/seed{seed}/plan/plan.json"),
        config=ancient("results/{scale}/{recipe}/{backend}/seed{seed}/plan/config"),
        environment=of(flow.environment_of, "backend"),
    output:
        model="results/{scale}/{recipe}/{backend}/seed{seed}/model.json",
        metrics="results/{scale}/{recipe}/{backend}/seed{seed}/metrics.jsonl",
        rollouts="results/{scale}/{recipe}/{backend}/seed{seed}/rollouts.parquet",
    log:
        "logs/train/{scale}.{recipe}.{backend}.seed{seed}.log",
    benchmark:
        "benchmarks/train/{scale}.{recipe}.{backend}.seed{seed}.jsonl"
    # On a CPU the jobs share the cores, and the longest ones start first.
    priority: 0 if flow.gpus else 1
    conda:
        "../envs/r1zero.yaml"
    threads: flow.cores["train"]
    resources:
        gpu=flow.gpus,
        # Otherwise SLURM may spread the GPUs over several nodes.
        nodes=1,
        mem_mb=limited("mem_mb", of_run(flow.training_memory), flow.gpus),
        runtime=limited("runtime", of_run(flow.training_minutes), flow.gpus),
    params:
        checkpoints="checkpoints/{scale}/{recipe}/{backend}/seed{seed}",
    shell:
        r"""
        # SLURM sends SIGTERM to the shell and to tee as well, and the training has to outlive it.
        trap '' TERM
        python -m r1zero train {input.run:q} \
            --plan "$(dirname {input.plan:q})" \
            --gpus {resources.gpu} \
            --checkpoints {params.checkpoints:q} \
            --wait \
            --out {output.model:q} 2>&1 | tee {log:q}
        """
