"""What reads a whole node and changes nothing: its invariants, who holds what, and what still waits."""
