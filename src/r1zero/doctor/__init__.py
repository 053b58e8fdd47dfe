"""What this machine can and cannot do. It is beside the stages: it reads settings, runs nothing."""
