"""Mini base models, made on the spot: the mini scale needs no download."""
