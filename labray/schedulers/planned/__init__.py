"""Policies that plan a whole graph before it runs, their planners, and the plans."""
