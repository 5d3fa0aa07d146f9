"""Floor 3: what must be the same in every world."""
