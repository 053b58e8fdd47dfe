"""Report: what the runs and their evaluations show, as tables, figures and one page.

`load` reads the files of the train and evaluate stages (`inputs`) and refuses what can't be
compared, `statistics` makes intervals, `tables`, `figures` and `page` render them, `command` writes
them all.
"""
