"""Countdown: make an expression of the given numbers, each exactly once, that equals the target."""
