"""What all wings of a node share: time, effects and log of one input, the tasks on record, the agent's events."""
