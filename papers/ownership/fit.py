"""The fit: two numbers to the two ends of a curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import exp, log

from papers.ownership.benchmark import Speeds
from papers.ownership.theirs import FITTED

Simulate = Callable[[int, Speeds], float]
"""Throughput with so many nodes at these speeds."""

CLOSE = 0.005
STEPS = 12


def fit(theirs: Mapping[int, float], simulate: Simulate, headless: bool) -> tuple[Speeds, int]:
    """The speeds that meet both ends, and after how many steps. RuntimeError if they do not come close.

    The nodes' speed is set by the small end, where the drivers are what is slow, and the head's by the large one. Where
    no task passes the head (headless) the one speed that is left is set by both: the errors at the ends are opposite.
    """
    small, large = FITTED
    speeds = Speeds(0.3, 1.0)
    for step in range(STEPS):
        off = [log(theirs[nodes] / simulate(nodes, speeds)) for nodes in (small, large)]
        if headless:
            off = [sum(off) / 2, 0.0]
        if max(map(abs, off)) <= CLOSE:
            return speeds, step
        speeds = Speeds(speeds.nodes * exp(off[0]), speeds.head * exp(off[1]))
    raise RuntimeError(f"after {STEPS} steps an end is still {max(map(abs, off)):.1%} off.")
