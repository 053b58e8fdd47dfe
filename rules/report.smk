"""Report: tables, figures and a page, every number from a file.

Needs: model.json, metrics.jsonl and evaluations of the selected runs.
Makes: results/<scale>/report/ (report_all/ on every recipe there is): index.md, tables/main.{csv,md,tex},
       figures/{learning_curve,training}.{svg,png}, report.json.
"""


rule write_report:
    """Tables, figures and page on every selected run, or on every recipe's."""
    input:
        models=lambda wildcards: [model_of(run) for run in reported(wildcards)],
        metrics=lambda wildcards: [
            f"results/{run.folder}/metrics.jsonl" for run in reported(wildcards)
        ],
        evaluations=lambda wildcards: [
            path for run in reported(wildcards) for path in evaluations_of(run)
        ],
    output:
        page="results/{scale}/{report}/index.md",
        manifest="results/{scale}/{report}/report.json",
        tables=expand("results/{{scale}}/{{report}}/tables/main.{kind}", kind=("csv", "md", "tex")),
        figures=expand(
            "results/{{scale}}/{{report}}/figures/{name}.{kind}",
            name=("learning_curve", "training"),
            kind=("svg", "png"),
        ),
    log:
        "logs/report/{scale}.{report}.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        models=lambda wildcards, input: [f"--model {path}" for path in input.models],
        evaluations=lambda wildcards, input: [f"--evaluation {path}" for path in input.evaluations],
    shell:
        r"""
        python -m r1zero report \
            {params.models} \
            {params.evaluations} \
            --out "$(dirname {output.page:q})" 2>&1 | tee {log:q}
        """
