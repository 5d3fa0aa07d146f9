"""Tests that start processes say so, with a mark or by what they are given; all others are kept from it.

`make fast-test` leaves the former out. That the latter start none is no promise: whoever is about to start one is asked
whose turn it is, and where that is not announced it does not happen and its test fails. (An audit hook would hear more,
but Python calls it at each `id()` too.)
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import wraps
from typing import Any

import pytest

STARTS = ("execv", "execve", "fork", "forkpty", "posix_spawn", "posix_spawnp", "system")
"""Functions of `os` that start a process, or make this one another; `subprocess` has its own."""
BY_PARAMETER = re.compile(r"[\[-]cluster[\]-]")
"""A parameter of a test that names the world of real processes."""


class Unannounced:
    """What a test has tried to start that may not."""

    def __init__(self) -> None:
        self.test = ""
        """Whose turn it is, if it may start nothing."""
        self.tried: list[str] = []

    def guard(self, module: Any, name: str) -> None:
        """Have this function ask first."""
        start = getattr(module, name)
        what = f"{module.__name__}.{name}"

        @wraps(start)
        def ask_first(*args: Any, **kwargs: Any) -> Any:
            if self.test and not asks_the_machine(*args, **kwargs):
                self.tried.append(what)
                raise AssertionError(f"{self.test} starts a process ({what}) and is not marked `processes`")
            return start(*args, **kwargs)

        setattr(module, name, ask_first)

    def begin(self, item: pytest.Item) -> None:
        self.test = "" if item.get_closest_marker("processes") else item.nodeid
        self.tried.clear()

    def end(self) -> None:
        self.test = ""


def asks_the_machine(popen: Any = None, args: Any = (), *_: Any, **__: Any) -> bool:
    """Whether matplotlib lists the fonts, which it does once on each machine, wherever it is first imported."""
    return isinstance(args, list) and args[:1] == ["fc-list"]


unannounced = Unannounced()
for start in STARTS:
    unannounced.guard(os, start)
unannounced.guard(subprocess.Popen, "__init__")


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
