"""The object store of a node: shared memory that clients write and read in place, and files of what is spilled."""
