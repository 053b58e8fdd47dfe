"""Evaluate: the base model and every checkpoint, measured the same way."""
