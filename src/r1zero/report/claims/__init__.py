"""Claims of the literature, each decided by a test of the results.

`literature` has the claims, one decorated function each. This package imports nothing by itself,
so that the workflow can read `plans` without numpy, scipy and polars.
"""
