"""Reward functions of the trainer, and the `grade` command of the graders."""
