"""Plan: the settings that decide the weights of a run, and its layout on the hardware.

Needs: the manifests of problems and model.
Makes: results/<run>/run.json (recipe and scale merged, with hashes; no hardware), and
       results/<run>/plan/{plan.json,plan.md} with the files of the backend in plan/config/.
"""


rule resolve:
    """Recipe, scale and seed merged into one run: a change of it trains again."""
    input:
        problems=of_run(flow.runs.problems),
        model=of_run(flow.runs.base_model),
        reward_models=of_run(flow.runs.reward_models),
    output:
        "results/{scale}/{recipe}/{backend}/seed{seed}/run.json",
    log:
        "logs/plan/{scale}.{recipe}.{backend}.seed{seed}.resolve.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        # A hash and not the files of recipe and scale: other changes in them train nothing again.
        settings=of_run(flow.runs.settings_hash),
        recipe=of_run(flow.runs.resolve_options),
        seeds=of_run(flow.runs.seed_options),
    shell:
        r"""
        python -m r1zero resolve {params.recipe} \
            --scale {wildcards.scale} \
            --backend {wildcards.backend} {params.seeds} \
            --problems {input.problems:q} \
            --model {input.model:q} \
            --out {output:q} 2>&1 | tee {log:q}
        """


rule layout:
    """Processes, batches and the files that start a run: a new layout does not train again."""
    input:
        run="results/{scale}/{recipe}/{backend}/seed{seed}/run.json",
    output:
        plan="results/{scale}/{recipe}/{backend}/seed{seed}/plan/plan.json",
        page="results/{scale}/{recipe}/{backend}/seed{seed}/plan/plan.md",
        config=directory("results/{scale}/{recipe}/{backend}/seed{seed}/plan/config"),
    log:
        "logs/plan/{scale}.{recipe}.{backend}.seed{seed}.layout.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        hardware=flow.hardware,
        checkpoints="checkpoints/{scale}/{recipe}/{backend}/seed{seed}",
    shell:
        r"""
        python -m r1zero layout {input.run:q} \
            --hardware {params.hardware:q} \
            --checkpoints {params.checkpoints:q} \
            --out "$(dirname {output.plan:q})" 2>&1 | tee {log:q}
        """


rule plan:
    """Lay out every selected run, without training."""
    input:
        flow.plans(),
    localrule: True
