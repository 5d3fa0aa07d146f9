"""The profile that comes with labray: measured here, and written into this checkout.

python -m experiments.calibrate [--ship]
"""
