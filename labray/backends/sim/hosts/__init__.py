"""The machines of a simulated cluster, and the CPU time that processes get on them."""
