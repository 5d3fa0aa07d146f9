"""Simulated processes that run users' code: the main program and the workers."""
