"""Floor 3: the simulated world."""
