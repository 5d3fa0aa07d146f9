"""Floor 2: policies and plans."""
