"""Calls of untrusted or slow functions in processes that can be killed."""
