"""What all wings of a node share: its clock and effects, the tasks on record, and what its agent is told."""
