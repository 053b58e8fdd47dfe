"""Tasks: data with its prompt. Rows in, problems with rendered prompts out."""
