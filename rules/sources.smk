"""Sources: the rows everything starts from.

Needs: config/sources.yaml; nothing else for what is drawn here, the user's files, or a hub.
Makes: resources/datasets/<dataset>/manifest.json, with train.jsonl and test.jsonl beside it, and
       resources/models/<model>/manifest.json, with the model's files beside it.
"""


rule dataset:
    """Rows of one dataset: drawn here, or copied from the user's files, with checksums."""
    input:
        table="config/sources.yaml",
    output:
        manifest="resources/datasets/{dataset}/manifest.json",
    log:
        "logs/sources/{dataset}.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        own=own_entries("datasets", "dataset"),
    shell:
        r"""
        python -m r1zero sources dataset {wildcards.dataset} \
            --table {input.table:q} \
            --own {params.own:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """


rule model:
    """A published model: downloaded, or linked to where the user has it."""
    input:
        table="config/sources.yaml",
    output:
        manifest="resources/models/{model}/manifest.json",
    log:
        "logs/sources/{model}.log",
    retries: 3
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        own=own_entries("models", "model"),
    shell:
        r"""
        python -m r1zero sources model {wildcards.model} \
            --table {input.table:q} \
            --own {params.own:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """
