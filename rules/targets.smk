"""Targets by name, generated from the recipes: `snakemake --list-target-rules` shows them.

Inputs are functions: a recipe that does not fit the scale stops the targets that want it alone.
"""


rule train_all:
    """Every recipe that extends no other, and all that is selected; the report on them."""
    input:
        lambda wildcards: finished(trained_by["train_all"]),
    localrule: True


for _task in tasks:

    rule:
        """Every selected recipe of the task, trained and evaluated; the report if it is all."""
        name:
            f"train_{_task}"
        input:
            lambda wildcards, target=f"train_{_task}": finished(trained_by[target]),
        localrule: True


for _recipe in recipes:

    rule:
        """One recipe, trained and evaluated; the report too if it is all that is selected."""
        name:
            f"train_{_recipe}"
        input:
            lambda wildcards, recipe=_recipe: finished([recipe]),
        localrule: True

    rule:
        """One recipe's evaluations: the base model and every checkpoint on every suite."""
        name:
            f"evaluate_{_recipe}"
        input:
            lambda wildcards, recipe=_recipe: [
                path for run in runs_of(recipe) for path in evaluations_of(run)
            ],
        localrule: True
