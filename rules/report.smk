"""Report: the paper as PDF and as a page, its tables and figures, a card for each model.

Needs: model.json, metrics.jsonl, rollouts.parquet and evaluations of the selected runs.
Makes: results/<scale>/report/ (report_all/ on every recipe there is): report.pdf, index.html,
       tables/*.{csv,md,tex}, figures/*.{svg,pdf,png}, cards/<run>/README.md, claims.json,
       report.json (checksums of all that was read and written).
"""


report: "../report/workflow.rst"


rule list_results:
    """Paths of the results, in a file: too many for a command line."""
    output:
        "results/{scale}/{report}/inputs.json",
    log:
        "logs/report/{scale}.{report}.inputs.log",
    localrule: True
    params:
        models=lambda wildcards: [model_of(run) for run in reported(wildcards)],
        evaluations=lambda wildcards: [
            path for run in reported(wildcards) for path in evaluations_of(run)
        ],
        # What the models' cards and the claims on plans name, the user's entries among them.
        sources=reported_sources,
    run:
        write_json(
            Path(output[0]),
            {
                "models": params.models,
                "evaluations": params.evaluations,
                "sources": params.sources,
            },
        )


rule write_report:
    """Paper, page, tables, figures and cards on every selected run, or on every recipe's."""
    input:
        listed="results/{scale}/{report}/inputs.json",
        models=lambda wildcards: [model_of(run) for run in reported(wildcards)],
        metrics=lambda wildcards: files_of_runs(wildcards, "metrics.jsonl"),
        rollouts=lambda wildcards: files_of_runs(wildcards, "rollouts.parquet"),
        evaluations=lambda wildcards: [
            path for run in reported(wildcards) for path in evaluations_of(run)
        ],
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
        # Of the recipes' files the report reads these alone: a comment there changes nothing.
        published=published_scores,
        planned=lambda wildcards: json.dumps(planned, sort_keys=True),
    shell:
        r"""
        python -m r1zero report \
            --inputs {input.listed:q} \
            --out "$(dirname {output.manifest:q})" 2>&1 | tee {log:q}
        """
