"""Tasks: datasets in, audited rows and problems with rendered prompts out."""
