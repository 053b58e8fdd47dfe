"""Tasks: problems with rendered prompts, held-out ones kept apart.

Needs: resources/datasets/<dataset>/manifest.json, and the user's suites.
Makes: resources/tasks/<dataset>/<prompt>/manifest.json, with problems/{train,test}.parquet and an
       audit of what was left out; resources/suites/<suite>/<prompt>.parquet.
"""


rule task:
    """Train and test problems. What any suite holds out is removed from train, and counted."""
    input:
        dataset="resources/datasets/{dataset}/manifest.json",
        held_out=[suite.path for suite in settings.suites.values()],
    output:
        manifest="resources/tasks/{dataset}/{prompt}/manifest.json",
        test="resources/tasks/{dataset}/{prompt}/problems/test.parquet",
    log:
        "logs/tasks/{dataset}.{prompt}.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        held_out=[f"--held-out {quote(str(suite.path))}" for suite in settings.suites.values()],
    shell:
        r"""
        python -m r1zero tasks dataset {input.dataset:q} \
            --prompt {wildcards.prompt} \
            {params.held_out} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """


rule suite:
    """Problems of one more held-out suite, from rows of the user's."""
    input:
        rows=lambda wildcards: settings.suites[wildcards.suite].path,
    output:
        "resources/suites/{suite}/{prompt}.parquet",
    log:
        "logs/tasks/suite.{suite}.{prompt}.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        keep=suite_filter,
    shell:
        r"""
        python -m r1zero tasks suite {input.rows:q} \
            --prompt {wildcards.prompt} \
            {params.keep} \
            --out {output:q} 2>&1 | tee {log:q}
        """
