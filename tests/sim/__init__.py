"""Floor 4: the simulated world."""
