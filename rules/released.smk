"""Released models: scored as the base models are, beside the recipe that published them.

Needs: resources/models/<model>/manifest.json and the problems of the suites; nothing is trained.
Makes: results/<scale>/released/<model>/model.json and evaluations/<suite>.json, with the
       completions as Parquet; results/<scale>/released/released.{csv,md}, their scores beside the
       published ones, which the report has too.
"""


rule released_model:
    """Describe a released model and how it is scored."""
    input:
        manifest="resources/models/{model}/manifest.json",
    output:
        "results/{scale}/released/{model}/model.json",
    log:
        "logs/evaluate/{scale}.released.{model}.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        settings=of(flow.released.settings_hash, "model"),
        options=of(flow.released.options, "model"),
    shell:
        r"""
        python -m r1zero released {wildcards.model} {params.options} \
            --scale {wildcards.scale} \
            --manifest {input.manifest:q} \
            --out {output:q} 2>&1 | tee {log:q}
        """


rule evaluate_model:
    """Sample and grade one released model on one suite."""
    input:
        model="results/{scale}/released/{model}/model.json",
        problems=of(flow.released.problems, "model", "suite"),
    output:
        scores="results/{scale}/released/{model}/evaluations/{suite}.json",
        completions="results/{scale}/released/{model}/evaluations/{suite}.parquet",
    log:
        "logs/evaluate/{scale}.released.{model}.{suite}.log",
    benchmark:
        "benchmarks/evaluate/{scale}.released.{model}.{suite}.jsonl"
    conda:
        "../envs/r1zero.yaml"
    threads: flow.cores["evaluate"]
    resources:
        gpu=of(flow.released.gpus, "model", "suite"),
        nodes=1,
        mem_mb=limited(
            "mem_mb",
            of(flow.released.memory, "model", "suite"),
            of(flow.released.gpus, "model", "suite"),
        ),
        runtime=limited(
            "runtime",
            of(flow.released.minutes, "model", "suite"),
            of(flow.released.gpus, "model", "suite"),
        ),
        # The results do not depend on it: another number must not make a job run again.
        processes=of(flow.released.processes, "model", "suite"),
    params:
        sizes=of(flow.released.suite_options, "model", "suite"),
    shell:
        r"""
        python -m r1zero evaluate {input.model:q} \
            --step 0 \
            --suite {wildcards.suite} {params.sizes} \
            --problems {input.problems:q} \
            --gpus {resources.gpu} \
            --processes {resources.processes} \
            --out {output.scores:q} 2>&1 | tee {log:q}
        """


rule compare_released:
    """Put the scores of all released models beside the published ones."""
    input:
        models=flow.released.models,
        evaluations=flow.released.evaluations,
    output:
        table="results/{scale}/released/released.csv",
        text="results/{scale}/released/released.md",
    log:
        "logs/report/{scale}.released.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        models=[f"--model {path}" for path in flow.released.models],
        evaluations=[f"--evaluation {path}" for path in flow.released.evaluations],
        published=flow.reports.released_scores(),
    shell:
        r"""
        python -m r1zero compare-released {params.models} {params.evaluations} \
            --out "$(dirname {output.table:q})" 2>&1 | tee {log:q}
        """


rule evaluate_released:
    """Score the released models of the configuration (`evaluate:`) beside what was published."""
    input:
        or_exit(flow.compared),
    localrule: True
