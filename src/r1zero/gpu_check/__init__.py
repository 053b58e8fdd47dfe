"""`r1zero gpu-check`: what a person with one GPU runs first.

`command.py` runs the parts one after the other, each in a process of its own that is ended at the
deadline. `measure.py` holds the memory model and the estimates of time against a model of random
weights; `mini.py` runs the stages of scale mini. It is beside the stages, which it starts as
programs.
"""
