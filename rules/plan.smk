"""Plan: the settings that decide the weights of a run, and its layout on the hardware.

Needs: the manifests of problems and model.
Makes: results/<run>/run.json (recipe and scale merged, with hashes; no hardware), and
       results/<run>/plan/{plan.json,plan.md} with the files of the backend in plan/config/.
"""


rule resolve:
    """Recipe, scale and seed merged into one run: a change of it trains again."""
    input:
        problems=task_manifest,
        model=model_manifest,
        reward_models=reward_model_manifests,
    output:
        "results/{scale}/{recipe}/{backend}/seed{seed}/run.json",
    log:
        "logs/plan/{scale}.{recipe}.{backend}.seed{seed}.resolve.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        # Not the files of recipe and scale, which other runs share: only what this run takes from them.
        settings=lambda wildcards: settings_of(wildcards).training_hash(),
        evaluation=lambda wildcards: settings_of(wildcards).evaluation.model_dump_json(
            exclude={"suites"}
        ),
        recipe=recipe_options,
        reward_models=lambda wildcards, input: [
            f"--reward-model {path}" for path in input.reward_models
        ],
    shell:
        r"""
        python -m r1zero resolve {params.recipe} \
            --scale {wildcards.scale} \
            --backend {wildcards.backend} \
            --seed {wildcards.seed} \
            --problems {input.problems:q} \
            --model {input.model:q} {params.reward_models} \
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
        hardware=hardware.model_dump_json(exclude_none=True),
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
        [f"results/{run.folder}/plan/plan.md" for run in runs],
    localrule: True
