"""Sources: the rows everything starts from.

Needs: nothing, or the user's files.
Makes: resources/datasets/<dataset>/manifest.json, with train.jsonl and test.jsonl beside it.
"""


rule dataset:
    """Rows of one dataset: drawn here, or copied from the user's files, with checksums."""
    input:
        table="config/sources.yaml",
    output:
        manifest="resources/datasets/{dataset}/manifest.json",
    params:
        own=dataset_table(),
    log:
        "logs/sources/{dataset}.log",
    conda:
        "../envs/r1zero.yaml"
    localrule: True
    shell:
        r"""
        python -m r1zero sources {wildcards.dataset} \
            --table {input.table:q} \
            --own {params.own:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """
