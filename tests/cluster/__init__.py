"""Floor 4: real processes."""
