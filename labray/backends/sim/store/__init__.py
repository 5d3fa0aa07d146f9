"""What simulated nodes store, in memory and on disk."""
