"""What graders share: extract the answer of a completion, and compare it with the gold answer."""
