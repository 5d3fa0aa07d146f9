"""Floor 4: what must be the same in every world."""
