"""Tests that start processes say so, with a mark or by what they are given; all others are kept from it.

`make fast-test` leaves the former out. That the latter start none is no promise: the interpreter tells of every
fork, exec and spawn (PEP 578), and where one is not announced it does not happen and its test fails.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

STARTS = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"}
)
BY_PARAMETER = re.compile(r"[\[-]cluster[\]-]")
"""A parameter of a test that names the world of real processes."""


class Unannounced:
    """What a test has tried to start that may not."""

    def __init__(self) -> None:
        self.test = ""
        """Whose turn it is, if it may start nothing."""
        self.tried: list[str] = []

    def hear(self, event: str, _: tuple[Any, ...]) -> None:
        """An audit hook: an error from here keeps the interpreter from what it was about to do."""
        if self.test and event in STARTS:
            self.tried.append(event)
            raise AssertionError(f"{self.test} starts a process ({event}) and is not marked `processes`")

    def begin(self, item: pytest.Item) -> None:
        self.test = "" if item.get_closest_marker("processes") else item.nodeid
        self.tried.clear()

    def end(self) -> None:
        self.test = ""


unannounced = Unannounced()
sys.addaudithook(unannounced.hear)


def announce(item: pytest.Item) -> None:
    """Marks a test that names the world of real processes in a parameter, or has a fixture of that name."""
    if BY_PARAMETER.search(item.name) or "cluster" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.processes)


def longest_first(items: list[pytest.Item]) -> None:
    """In order of what files say that their longest test may take, then those with processes, which wait much.

    Where several share the work (pytest-xdist), what is begun last must be short.
    """
    longest: dict[str, float] = {}
    for item in items:
        file = item.nodeid.partition("::")[0]
        mark = item.get_closest_marker("timeout")
        most = (
            float(mark.args[0]) if mark is not None else 1.0 if item.get_closest_marker("processes") else 0.0
        )
        longest[file] = max(longest.get(file, 0.0), most)
    items.sort(key=lambda item: -longest[item.nodeid.partition("::")[0]])
