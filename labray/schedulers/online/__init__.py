"""Policies that decide as tasks arrive; one family is in each file."""
