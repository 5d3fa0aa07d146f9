"""A worker process: what it may begin, how it is interrupted, what it prints and how it ends."""
