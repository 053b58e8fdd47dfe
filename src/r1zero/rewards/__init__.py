"""Graders: one per task, used both as the training reward and as the evaluation score."""
