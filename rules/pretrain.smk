"""Pretrain: base models made on the spot, so that the mini scale needs no download.

Needs: config/scales/<scale>.yaml and the problems of the task (for prompt and held-out rows).
Makes: resources/bases/<scale>/<base>/manifest.json, with the model and its tokenizer beside it.
"""


rule base:
    """A small base model: it knows the format and the arithmetic, and searches badly."""
    input:
        scale="config/scales/{scale}.yaml",
        problems=task_of_base,
    output:
        manifest="resources/bases/{scale}/{base}/manifest.json",
    log:
        "logs/pretrain/{scale}.{base}.log",
    benchmark:
        "benchmarks/pretrain/{scale}.{base}.jsonl"
    conda:
        "../envs/r1zero.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime="1h",
    shell:
        r"""
        python -m r1zero pretrain {wildcards.base} \
            --scale {wildcards.scale} \
            --problems {input.problems:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """
