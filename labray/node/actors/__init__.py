"""Actors: where calls go, what their owner decides, where they live, and their names."""
