"""Floor 3: real processes."""
