"""Train: launch a backend on a plan, resume it where it was cut off, and record what it made."""
