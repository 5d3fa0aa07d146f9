"""What policies are made of: accounts of nodes and of what waits, and agents that several share."""
