"""Floor 1: task graphs, and recordings of others."""
