"""Tasks: one folder each with its rows, its grader and its mini data, and the prompts of all."""
