"""A node's daemon: daemon.py is the loop around the node, and has links to workers, peers and the driver."""
