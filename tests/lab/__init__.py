"""Calibration, comparison and experiments."""
