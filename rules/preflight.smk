"""Preflight: check the machine that trains in seconds, before the first job and any download.

Needs: the GPUs, packages, reward functions and trackers of the runs that are about to be trained.
Makes: nothing. A run of Snakemake without a training checks nothing. On a cluster neither does the
       login node: `r1zero train` makes the same check where it starts.
"""


onstart:
    trained = {
        Run.of(job.wildcards) for job in workflow.dag.needrun_jobs() if job.rule.name == "train"
    }
    if workflow.local_exec and trained:
        # A process of its own, since it imports the user's reward functions.
        check = ["python", "-m", "r1zero", "preflight", or_exit(flow.preflight_needs, trained)]
        if status := subprocess.run(check).returncode:
            sys.exit(status)
