"""Reads a whole node and changes nothing: its invariants, what it holds, and what waits."""
