"""A node's daemon: the loop around its state machine, and its links to workers, peers and the driver."""
