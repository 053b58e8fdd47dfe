"""Pages and schemas that are generated from the code. It is beside the stages: none imports it."""
