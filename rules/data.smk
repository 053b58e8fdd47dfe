"""Data: problems with their prompts, without the held-out ones in the training rows.

Needs: resources/datasets/<dataset>/manifest.json of the dataset and of every suite.
Makes: resources/rows/<dataset>/manifest.json, with rows in one schema and an audit of those that
       were removed; resources/problems/<dataset>/<prompt>/manifest.json, with the prompts.
"""


rule rows:
    """Convert rows to one schema, and remove duplicates and every suite's problems from train."""
    input:
        dataset_manifest="resources/datasets/{dataset}/manifest.json",
        # A list without names: a suite may have the name of an attribute of Snakemake's inputs.
        held_out=lambda wildcards: list(flow.sources.held_out(wildcards.dataset).values()),
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
            for name, path in flow.sources.held_out(wildcards.dataset).items()
        ],
    shell:
        r"""
        python -m r1zero data rows {input.dataset_manifest:q} \
            {params.held_out} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """


rule problems:
    """Add the prompt that the model reads to each row."""
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
