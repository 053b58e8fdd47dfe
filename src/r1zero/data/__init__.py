"""Data: from the files of datasets to audited rows, and from rows to problems with prompts."""
