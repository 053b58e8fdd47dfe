"""Backends: trainers that run a recipe, one folder each. The protocol is in `base.py`."""
