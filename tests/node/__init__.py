"""Floor 1: the node by itself, on a bench or in the loop."""
