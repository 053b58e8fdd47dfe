"""Report: tables, figures and a page, every number from a file.

Needs: model.json, metrics.jsonl and evaluations of the selected runs.
Makes: results/<scale>/report/: index.md, tables/main.{csv,md,tex},
       figures/{learning_curve,training}.{svg,png}, report.json.
"""


rule write_report:
    """Tables, figures and page on every selected run."""
    input:
        models=[model_of(run) for run in runs],
        metrics=[f"results/{run.folder}/metrics.jsonl" for run in runs],
        evaluations=[path for run in runs for path in evaluations_of(run)],
    output:
        page=f"{report_folder}/index.md",
        manifest=f"{report_folder}/report.json",
        tables=[f"{report_folder}/tables/main.{kind}" for kind in ("csv", "md", "tex")],
        figures=[
            f"{report_folder}/figures/{name}.{kind}"
            for name in ("learning_curve", "training")
            for kind in ("svg", "png")
        ],
    log:
        f"logs/report/{settings.scale}.log",
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
