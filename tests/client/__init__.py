"""Floor 4: the user-program half of the protocol."""
