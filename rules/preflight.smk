"""Preflight: check the machine that trains before anything is downloaded.

Needs: nothing.
Makes: resources/preflight.json, what this machine was checked for.
       Rules that download or train have it as an `ancient` input. It stays where it is, so that
       a new check makes none of them run again. On a cluster it checks nothing: each training
       checks its own machine as it starts.
"""


rule preflight:
    """Check that this machine has the GPUs, packages and reward functions of the runs."""
    output:
        flow.preflight_file,
    log:
        "logs/preflight.log",
    localrule: True
    conda:
        "../envs/r1zero.yaml"
    params:
        needs=lambda wildcards: flow.preflight_needs(targets()),
    shell:
        r"""
        python -m r1zero preflight {params.needs:q} \
            --out {output:q} 2>&1 | tee {log:q}
        """
