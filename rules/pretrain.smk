"""Pretrain: base models made on the spot, so that the mini scale needs no download.

Needs: the rows that the task has at this scale, for what they hold out.
Makes: resources/bases/<scale>/<base>/manifest.json, with the model and its tokenizer beside it.
"""


rule base:
    """A small base model: it knows the formats and the arithmetic, and chooses badly."""
    input:
        rows=rows_of_base,
    output:
        manifest="resources/bases/{scale}/{base}/manifest.json",
    log:
        "logs/pretrain/{scale}.{base}.log",
    benchmark:
        "benchmarks/pretrain/{scale}.{base}.jsonl"
    priority: shared - 1
    conda:
        "../envs/r1zero.yaml"
    threads: training_threads
    resources:
        mem_mb=4000,
        compute_threads=compute_threads,
        runtime="1h",
    params:
        # Not the scale's file: its other keys and its comments change nothing here.
        settings=settings_of_base,
    shell:
        r"""
        export OMP_NUM_THREADS={resources.compute_threads} MKL_NUM_THREADS={resources.compute_threads}
        python -m r1zero pretrain {wildcards.base} \
            --scale {wildcards.scale} \
            --rows {input.rows:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """
