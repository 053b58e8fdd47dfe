"""Mini base models, pre-trained on this machine so that the mini scale needs no download."""
