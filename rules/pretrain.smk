"""Pretrain: small base models, so that the mini scale needs no download.

Needs: the rows of the task at this scale, whose held-out problems the base model must not see.
Makes: resources/bases/<scale>/<base>/manifest.json, with the model and its tokenizer beside it;
       with another seed of `base_seeds` in <base>.seed<n>/.
"""


rule base:
    """Pretrain a small base model on synthetic traces of a task."""
    input:
        rows=of(flow.sources.base_rows, "scale", "base"),
    output:
        manifest="resources/bases/{scale}/{base}/manifest.json",
    log:
        "logs/pretrain/{scale}.{base}.log",
    benchmark:
        "benchmarks/pretrain/{scale}.{base}.jsonl"
    # On a CPU the jobs share the cores, and the longest ones start first.
    priority: 0 if flow.gpus else 1
    conda:
        "../envs/r1zero.yaml"
    threads: flow.cores["pretrain"]
    resources:
        mem_mb=limited("mem_mb", 4000, 0),
        runtime=limited("runtime", 60, 0),
    params:
        # The keys of this base model alone: a change of others in the file trains nothing again.
        settings=of(flow.sources.base_settings, "scale", "base"),
        base=of(flow.sources.base_options, "base"),
    shell:
        r"""
        python -m r1zero pretrain {params.base} \
            --scale {wildcards.scale} \
            --rows {input.rows:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """
