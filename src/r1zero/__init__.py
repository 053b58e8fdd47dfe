"""R1-Zero replication as a DAG: one sub-package per stage, one command per stage."""
