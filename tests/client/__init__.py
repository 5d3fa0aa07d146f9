"""Floor 3: the half of the protocol that runs users' code."""
