"""Measures of runs, with confidence intervals over problems and training seeds."""
