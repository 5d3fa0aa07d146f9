"""Policies that decide as tasks arrive: one in each file."""
