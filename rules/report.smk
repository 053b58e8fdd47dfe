"""Report: the paper as PDF and HTML, its tables and figures, and a model card for each run.

Needs: model.json, metrics.jsonl, rollouts.parquet and evaluations of the selected runs.
Makes: results/<scale>/report/ (report_all/ for the target train_all): report.pdf, index.html,
       tables/*.{csv,md,tex}, figures/*.{svg,pdf,png}, cards/<run>/README.md, claims.json,
       report.json (checksums of all files that were read and written).
"""


report: "../report/workflow.rst"


rule list_results:
    """List the paths of the results in a file, since a command line is too short for them."""
    output:
        "results/{scale}/{report}/inputs.json",
    log:
        "logs/report/{scale}.{report}.inputs.log",
    localrule: True
    params:
        models=lambda wildcards: flow.reports.results(wildcards.report, "model.json"),
        evaluations=of(flow.reports.evaluations, "report"),
        # The table entries that model cards and claims on plans name.
        sources=of(flow.reports.sources, "report"),
        released=flow.reports.released(),
    run:
        write_json(
            Path(output[0]),
            {
                "models": params.models,
                "evaluations": params.evaluations,
                "sources": params.sources,
                **params.released,
            },
        )


rule write_report:
    """Write the paper, the page, tables, figures and model cards."""
    input:
        listed="results/{scale}/{report}/inputs.json",
        models=lambda wildcards: flow.reports.results(wildcards.report, "model.json"),
        metrics=lambda wildcards: flow.reports.results(wildcards.report, "metrics.jsonl"),
        rollouts=lambda wildcards: flow.reports.results(wildcards.report, "rollouts.parquet"),
        evaluations=of(flow.reports.evaluations, "report"),
        released=[*flow.released.models, *flow.released.evaluations],
    output:
        paper=report(
            "results/{scale}/{report}/report.pdf",
            caption="../report/paper.rst",
            category="Paper",
        ),
        page=report(
            "results/{scale}/{report}/index.html",
            caption="../report/page.rst",
            category="Paper",
        ),
        tables=report(
            directory("results/{scale}/{report}/tables"),
            patterns=["{name}.csv"],
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{name}"},
        ),
        figures=report(
            directory("results/{scale}/{report}/figures"),
            patterns=["{name}.svg"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{name}"},
        ),
        cards=directory("results/{scale}/{report}/cards"),
        claims="results/{scale}/{report}/claims.json",
        manifest="results/{scale}/{report}/report.json",
    log:
        "logs/report/{scale}.{report}.log",
    benchmark:
        "benchmarks/report/{scale}.{report}.jsonl"
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        # All that the report reads of the recipes: other changes in them write nothing again.
        published=of(flow.reports.published_scores, "report"),
        planned=lambda wildcards: flow.reports.planned_runs(),
        released=flow.reports.released_scores(),
    shell:
        r"""
        python -m r1zero report \
            --inputs {input.listed:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """
