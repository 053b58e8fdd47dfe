"""Targets by name, generated from the recipes: `snakemake --list-target-rules` lists them.

Their inputs are functions, so that a recipe that does not fit the scale breaks only its own target.
"""


rule train_all:
    """Train, evaluate and report every recipe that extends no other, and all selected ones."""
    input:
        lambda wildcards: or_exit(flow.finished, "train_all"),
    localrule: True


rule claims:
    """Train and measure what the claims of the literature need, and judge them."""
    input:
        lambda wildcards: or_exit(flow.claimed),
    localrule: True


for _task in flow.runs.tasks:

    rule:
        """Train and evaluate the selected recipes of one task; report them if they are all."""
        name:
            f"train_{_task}"
        input:
            lambda wildcards, target=f"train_{_task}": or_exit(flow.finished, target),
        localrule: True


for _recipe in flow.runs.recipes:

    rule:
        """Train and evaluate one recipe; report it if it is the only selected one."""
        name:
            f"train_{_recipe}"
        input:
            lambda wildcards, target=f"train_{_recipe}": or_exit(flow.finished, target),
        localrule: True

    rule:
        """Evaluate the base model and every checkpoint of one recipe on every suite."""
        name:
            f"evaluate_{_recipe}"
        input:
            lambda wildcards, recipe=_recipe: or_exit(flow.runs.evaluations, flow.runs.of([recipe])),
        localrule: True
