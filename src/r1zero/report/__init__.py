"""Report: what the runs and their evaluations show, as a paper, a page, tables and figures.

`load` reads the files of the train and evaluate stages (`inputs`) and refuses what can't be
compared. `measures` takes values from them and `statistics` makes intervals; `claims` judges the
ledger. `paper` puts the contents together, from `tables`, `accounts`, `origins`, `ablations`,
`published`, `figures` (whose rows `series` makes) and `samples`. `pdf`, `html`, `rendering` and
`cards` render them, `command` writes them all.
"""
