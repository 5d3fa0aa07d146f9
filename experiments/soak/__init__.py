"""Random programs on real nodes while workers and nodes are killed: what comes of it, and what is left behind."""
