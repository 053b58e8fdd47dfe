"""The tables of the paper, each with its raw numbers and the cells that are shown."""
