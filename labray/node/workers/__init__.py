"""The worker processes of a node, its resources, and the ready tasks that wait for them."""
