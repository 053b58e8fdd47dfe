"""Plan: what decides a run's weights, and how the run is laid out on the hardware.

Needs: the manifests of problems and model.
Makes: results/<run>/run.json (recipe and scale merged, with hashes; knows no hardware), and
       results/<run>/plan/{plan.json,plan.md,trl.yaml,accelerate.yaml}.
"""


rule resolve:
    """Recipe, scale and seed merged into one run: a change here trains anew."""
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
    shell:
        r"""
        python -m r1zero resolve {params.recipe} \
            --scale {wildcards.scale} \
            --backend {wildcards.backend} \
            --seed {wildcards.seed} \
            --problems {input.problems:q} \
            --model {input.model:q} \
            --out {output:q} 2>&1 | tee {log:q}
        """


rule layout:
    """Processes, batches and rendered configs for the GPUs there are: a change trains nothing."""
    input:
        run="results/{scale}/{recipe}/{backend}/seed{seed}/run.json",
    output:
        plan="results/{scale}/{recipe}/{backend}/seed{seed}/plan/plan.json",
        page="results/{scale}/{recipe}/{backend}/seed{seed}/plan/plan.md",
        trl="results/{scale}/{recipe}/{backend}/seed{seed}/plan/trl.yaml",
        accelerate="results/{scale}/{recipe}/{backend}/seed{seed}/plan/accelerate.yaml",
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
        python -m r1zero render {input.run:q} \
            --hardware {params.hardware:q} \
            --checkpoints {params.checkpoints:q} \
            --out "$(dirname {output.plan:q})" 2>&1 | tee {log:q}
        """


rule plan:
    """Lay out every selected run, and start none."""
    input:
        flow.plans(),
    localrule: True
