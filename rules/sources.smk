"""Sources: the rows and models everything starts from.

Needs: an entry of config/sources.yaml; the user's files, the endpoints of the configuration, or
       nothing at all.
Makes: resources/datasets/<dataset>/manifest.json and resources/models/<model>/manifest.json, with
       the files beside them, and config/sources.lock.yaml, which is no output: it outlives them.
"""


rule dataset:
    """Rows of one dataset: fetched, drawn here, or copied from the user's files."""
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
    """A published model: fetched, or linked to where the user has it."""
    output:
        manifest="resources/models/{model}/manifest.json",
    log:
        "logs/sources/{model}.log",
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


rule download:
    """Everything that the selected recipes need from a network: for login nodes."""
    input:
        lambda wildcards: sources_of(selected),
    localrule: True


rule verify_sources:
    """Every dataset and model on disk, hashed again and held against the lock."""
    log:
        "logs/sources/verify.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    shell:
        "python -m r1zero sources verify 2>&1 | tee {log:q}"
