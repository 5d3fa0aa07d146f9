"""The memory of a node's store: what is in it, who may write, and what goes to disk."""
