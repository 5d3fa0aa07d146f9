"""Task Bench's dependence patterns (Slaughter et al., SC'20, table 2): which points of the step before a point takes.

Pure: points are 0 to width - 1, steps count from 0, and the first step takes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

Pattern = Callable[[int, int, int], Sequence[int]]
"""(step, point, width) to the points of step - 1 that it takes, ascending; step is at least 1."""

RADIX = 5
FRACTION = 0.25


def trivial(step: int, point: int, width: int) -> Sequence[int]:
    return ()


def no_comm(step: int, point: int, width: int) -> Sequence[int]:
    return (point,)


def stencil(step: int, point: int, width: int) -> Sequence[int]:
    return within(range(point - 1, point + 2), width)


def tree(step: int, point: int, width: int) -> Sequence[int]:
    """Half as many points take part in each step, in pairs; those that are out keep what they have."""
    reach = 1 << (step - 1)
    if point % (2 * reach):
        return (point,)
    return within((point, point + reach), width)


def fft(step: int, point: int, width: int) -> Sequence[int]:
    """The butterfly: a step's distance is a power of two, over and over."""
    distance = 1 << ((step - 1) % max(1, (width - 1).bit_length()))
    return within((point - distance, point, point + distance), width)


def all_to_all(step: int, point: int, width: int) -> Sequence[int]:
    return range(width)


def nearest(step: int, point: int, width: int) -> Sequence[int]:
    """RADIX neighbours, itself in the middle."""
    return within(range(point - RADIX // 2, point + RADIX // 2 + 1), width)


def spread(step: int, point: int, width: int) -> Sequence[int]:
    """RADIX points, evenly far apart, others in each step."""
    count = min(RADIX, width)
    return sorted({(point + at * width // count + (step if at else 0)) % width for at in range(count)})


def random(step: int, point: int, width: int) -> Sequence[int]:
    """Each point with a chance of FRACTION, itself always. The same for ever."""
    rng = Random(f"{step}/{point}/{width}")
    return [other for other in range(width) if other == point or rng.random() < FRACTION]


def within(points: Sequence[int], width: int) -> Sequence[int]:
    return [point for point in points if 0 <= point < width]


PATTERNS: dict[str, Pattern] = {
    "trivial": trivial,
    "no_comm": no_comm,
    "stencil": stencil,
    "tree": tree,
    "fft": fft,
    "all_to_all": all_to_all,
    "nearest": nearest,
    "spread": spread,
    "random": random,
}
