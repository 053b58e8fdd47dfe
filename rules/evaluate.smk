"""Evaluate: measure the base model (step 0) and every checkpoint in the same way.

Needs: results/<run>/model.json and the problems of the suite.
Makes: results/<run>/evaluations/<suite>/step<step>.json, and the completions as Parquet.
       Finished chunks of completions are kept beside them, in .step<step>.partial/, until all are
       there. They are not declared outputs because Snakemake would delete those before a retry.
"""


rule evaluate:
    """Sample and grade one model on one suite."""
    input:
        model="results/{scale}/{recipe}/{backend}/seed{seed}/model.json",
        problems=of_run(flow.runs.suite_problems, "suite"),
    output:
        scores="results/{scale}/{recipe}/{backend}/seed{seed}/evaluations/{suite}/step{step}.json",
        completions=(
            "results/{scale}/{recipe}/{backend}/seed{seed}/evaluations/{suite}/step{step}.parquet"
        ),
    log:
        "logs/evaluate/{scale}.{recipe}.{backend}.seed{seed}.{suite}.step{step}.log",
    benchmark:
        "benchmarks/evaluate/{scale}.{recipe}.{backend}.seed{seed}.{suite}.step{step}.jsonl"
    conda:
        "../envs/r1zero.yaml"
    threads: flow.cores["evaluate"]
    resources:
        gpu=of_run(flow.evaluation_gpus, "suite"),
        nodes=1,
        mem_mb=limited(
            "mem_mb",
            of_run(flow.evaluation_memory, "suite"),
            of_run(flow.evaluation_gpus, "suite"),
        ),
        runtime=limited(
            "runtime",
            of_run(flow.evaluation_minutes, "suite"),
            of_run(flow.evaluation_gpus, "suite"),
        ),
        # The results do not depend on it: another number must not make a job run again.
        processes=of_run(flow.evaluation_processes, "suite"),
    params:
        sizes=of_run(flow.runs.suite_options, "suite"),
    shell:
        r"""
        python -m r1zero evaluate {input.model:q} \
            --step {wildcards.step} \
            --suite {wildcards.suite} {params.sizes} \
            --problems {input.problems:q} \
            --gpus {resources.gpu} \
            --processes {resources.processes} \
            --out {output.scores:q} 2>&1 | tee {log:q}
        """
