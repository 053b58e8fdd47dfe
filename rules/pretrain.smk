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
    # On a CPU they share the cores, and what takes longest begins first.
    priority: 0 if gpus else 1
    conda:
        "../envs/r1zero.yaml"
    threads: base_threads
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        # Not the scale's file: its other keys and its comments change nothing here.
        settings=settings_of_base,
    shell:
        r"""
        python -m r1zero pretrain {wildcards.base} \
            --scale {wildcards.scale} \
            --rows {input.rows:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """
