"""Report: what the runs and their evaluations show, as a paper, a page, tables and figures.

Imports go one way among the subpackages:

- `results` reads the files of earlier stages and refuses those that cannot be compared.
- `statistics` measures runs and gives every mean and difference its confidence interval.
- `claims` judges statements of the literature on these measures.
- `paper` puts text, tables and figures together and renders them as PDF, CSV, Markdown and LaTeX.
- `page` renders the same contents as one HTML page with a browser of completions.

`model_cards` writes a card for each model. `output` runs everything and writes the files.
"""
