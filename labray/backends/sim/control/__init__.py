"""Simulated daemons, which serve the nodes' messages in batches, and the watch over the whole simulation."""
