"""Tasks at a node: submission, dependencies, completion, retries, lineage and cancellation."""
