"""Sources: fetch the datasets and models.

Needs: entries of config/sources.yaml or the configuration, and the user's files that they name.
Makes: resources/datasets/<dataset>/manifest.json and resources/models/<model>/manifest.json, with
       the files beside them. Also config/sources.lock.yaml, which is not a declared output because
       it must outlive the files.
"""


rule dataset:
    """Fetch or generate the rows of one dataset, or copy them from the user's files."""
    input:
        files=of(flow.sources.local_files, "dataset"),
    output:
        manifest="resources/datasets/{dataset}/manifest.json",
    log:
        "logs/sources/{dataset}.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        table="config/sources.yaml",
        entry=of(flow.sources.dataset_entry, "dataset"),
    shell:
        r"""
        python -m r1zero sources dataset {wildcards.dataset} \
            --table {params.table:q} \
            --own {params.entry:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """


rule model:
    """Fetch a published model, or link to the user's folder."""
    output:
        manifest="resources/models/{model}/manifest.json",
    log:
        "logs/sources/{model}.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        table="config/sources.yaml",
        entry=of(flow.sources.model_entry, "model"),
    shell:
        r"""
        python -m r1zero sources model {wildcards.model} \
            --table {params.table:q} \
            --own {params.entry:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """


rule download:
    """Fetch everything that the selected recipes need from a network, such as on a login node."""
    input:
        flow.needed(),
    localrule: True


rule verify_sources:
    """Hash every dataset and model on disk again and compare it with the lock."""
    log:
        "logs/sources/verify.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    shell:
        "python -m r1zero sources verify 2>&1 | tee {log:q}"
