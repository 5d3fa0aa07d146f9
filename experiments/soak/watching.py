"""Resident memory and open descriptors, every second: of driver, template and each daemon; and what to make of it.

The driver, the template and the first daemon live throughout: their medians over the last minute stand beside those
over the minute after the first, in which caches and pools fill. A node that was killed has a new daemon in its place,
so those are compared at the same age: the medians over a window of their lives, of those born in the first and of
those born in the last third of the run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from statistics import median

import psutil
from msgspec import Struct

PERIOD_S = 1.0
AGE_S = (5.0, 15.0)
"""The window of its life in which a daemon that may be killed is compared with others."""
ENOUGH = 3
ALLOWED = 0.05


class Sample(Struct, frozen=True):
    """at: seconds since the first minute began. who: driver, template or a node. age: seconds."""

    at: float
    who: str
    age: float
    rss_MB: float
    descriptors: int


class Compared(Struct, frozen=True):
    """how: over the second and the last minute, or at the same age early and late."""

    who: str
    how: str
    rss_MB: tuple[float, float]
    descriptors: tuple[float, float]

    @property
    def growth(self) -> tuple[float, float]:
        """The growth of memory and of descriptors, as fractions."""
        return _growth(self.rss_MB), _growth(self.descriptors)

    @property
    def fine(self) -> bool:
        return max(self.growth) <= ALLOWED


def _growth(pair: tuple[float, float]) -> float:
    return pair[1] / pair[0] - 1.0 if pair[0] else 0.0


class Watcher:
    """living() gives the processes to look at: name, and number and time of birth."""

    def __init__(self, living: Callable[[], Mapping[str, tuple[int, float]]]) -> None:
        self.samples: list[Sample] = []
        self.began = time.monotonic()
        self._living = living
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watcher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(10.0)

    def _look(self) -> None:
        while not self._over.wait(PERIOD_S):
            for who, (pid, born) in self._living().items():
                now = time.monotonic()
                try:
                    process = psutil.Process(pid)
                    rss, descriptors = process.memory_info().rss, process.num_fds()
                except psutil.Error:  # it has just been killed
                    continue
                self.samples.append(Sample(now - self.began, who, now - born, rss / 1e6, descriptors))


def compared(samples: list[Sample], lasting: tuple[str, ...], seconds: float) -> list[Compared]:
    """The verdicts. lasting: who lived throughout; seconds: how long the run was."""
    minute = min(60.0, seconds / 4)
    found = []
    for who in lasting:
        mine = [sample for sample in samples if sample.who == who]
        first = [sample for sample in mine if minute < sample.at <= 2 * minute]
        last = [sample for sample in mine if sample.at > seconds - minute]
        if first and last:
            how = "second and last minute" if minute == 60.0 else f"second and last {minute:.0f} s"
            found.append(_pair(who, how, first, last))
    early, late = [], []
    for who in dict.fromkeys(sample.who for sample in samples if sample.who not in lasting):
        mine = [sample for sample in samples if sample.who == who and AGE_S[0] <= sample.age <= AGE_S[1]]
        if mine and mine[-1].age > AGE_S[1] - 2 * PERIOD_S:
            if mine[-1].at - mine[-1].age <= seconds / 3:
                early.append(_middle(mine))
            elif mine[-1].at - mine[-1].age > 2 * seconds / 3:
                late.append(_middle(mine))
    if len(early) >= ENOUGH and len(late) >= ENOUGH:
        how = f"{AGE_S[0]:.0f} to {AGE_S[1]:.0f} s old, {len(early)} early and {len(late)} late ones"
        found.append(_pair("replaced daemons", how, early, late))
    return found


def _middle(samples: list[Sample]) -> Sample:
    return Sample(
        samples[-1].at, samples[-1].who, samples[-1].age, median(s.rss_MB for s in samples),
        round(median(s.descriptors for s in samples)),
    )  # fmt: skip


def _pair(who: str, how: str, first: list[Sample], last: list[Sample]) -> Compared:
    return Compared(
        who, how,
        (median(s.rss_MB for s in first), median(s.rss_MB for s in last)),
        (median(s.descriptors for s in first), median(s.descriptors for s in last)),
    )  # fmt: skip
