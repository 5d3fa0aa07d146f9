"""Simulated daemons serve their node's messages in batches, one after the other; supervision watches over them all."""
