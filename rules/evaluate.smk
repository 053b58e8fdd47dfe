"""Evaluate: the base model (step 0) and every checkpoint, measured the same way.

Needs: results/<run>/model.json, the suite's problems.
Makes: results/<run>/evaluations/<suite>/step<step>.json, and the completions as Parquet.
       Finished chunks of completions stay beside them, in .step<step>.partial/, until all are: they
       are no declared output, which Snakemake would delete before a retry.
"""


rule evaluate:
    """Sample and grade one model on one suite."""
    input:
        model="results/{scale}/{recipe}/{backend}/seed{seed}/model.json",
        problems=problems_of_suite,
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
    # One core each: evaluations are independent, and side by side they waste least.
    threads: 1
    resources:
        gpu=min(gpus, 1),
        mem_mb=evaluation_memory,
        runtime="4h",
    params:
        sizes=sizes_of_suite,
    shell:
        r"""
        python -m r1zero evaluate {input.model:q} \
            --step {wildcards.step} \
            --suite {wildcards.suite} {params.sizes} \
            --problems {input.problems:q} \
            --gpus {resources.gpu} \
            --out {output.scores:q} 2>&1 | tee {log:q}
        """
