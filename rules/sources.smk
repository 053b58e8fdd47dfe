"""Sources: the rows everything starts from.

Needs: an entry of config/sources.yaml; the user's files, a hub, or nothing at all.
Makes: resources/datasets/<dataset>/manifest.json, with train.jsonl and test.jsonl beside it, and
       resources/models/<model>/manifest.json, with the model's files beside it.
"""


rule dataset:
    """Rows of one dataset: drawn here, or copied from the user's files, with checksums."""
    input:
        files=files_of_dataset,
    output:
        manifest="resources/datasets/{dataset}/manifest.json",
    log:
        "logs/sources/{dataset}.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        table="config/sources.yaml",
        entry=source_of("datasets", "dataset"),
    shell:
        r"""
        python -m r1zero sources dataset {wildcards.dataset} \
            --table {params.table:q} \
            --own {params.entry:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """


rule model:
    """A published model: downloaded, or linked to where the user has it."""
    output:
        manifest="resources/models/{model}/manifest.json",
    log:
        "logs/sources/{model}.log",
    retries: 3
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        table="config/sources.yaml",
        entry=source_of("models", "model"),
    shell:
        r"""
        python -m r1zero sources model {wildcards.model} \
            --table {params.table:q} \
            --own {params.entry:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """
