"""Tasks: problems with rendered prompts, held-out ones kept apart.

Needs: resources/datasets/<dataset>/manifest.json of the dataset and of every suite.
Makes: resources/rows/<dataset>/manifest.json, with rows in one schema and an audit of what was left
       out; resources/problems/<dataset>/<prompt>/manifest.json, with problems/{train,test}.parquet.
"""


rule rows:
    """Rows in one schema, each problem once. What any suite holds out is removed from train."""
    input:
        dataset_manifest="resources/datasets/{dataset}/manifest.json",
        # A list and no names: a suite may be called as Snakemake calls something of its own.
        held_out=lambda wildcards: list(held_out_of(wildcards).values()),
    output:
        manifest="resources/rows/{dataset}/manifest.json",
        audit="resources/rows/{dataset}/audit.json",
    log:
        "logs/data/{dataset}.rows.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        held_out=lambda wildcards: [
            f"--held-out {quote(f'{name}={path}')}"
            for name, path in held_out_of(wildcards).items()
        ],
    shell:
        r"""
        python -m r1zero data rows {input.dataset_manifest:q} \
            {params.held_out} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """


rule problems:
    """Problems: rows with the prompt that a model reads."""
    input:
        rows="resources/rows/{dataset}/manifest.json",
    output:
        manifest="resources/problems/{dataset}/{prompt}/manifest.json",
    log:
        "logs/data/{dataset}.{prompt}.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    shell:
        r"""
        python -m r1zero data problems {input.rows:q} \
            --prompt {wildcards.prompt} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """
