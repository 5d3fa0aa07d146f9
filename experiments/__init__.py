"""Questions, one folder each, asked with `python -m experiments.NAME` from the top of a checkout. None is installed.

They use what any user of labray can use, and share `harness`: where a row comes from, and how a figure looks.
"""
