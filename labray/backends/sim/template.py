"""The process from which a host's workers are forked, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labray.backends.sim.hosts import Host
    from labray.profiles import Profile

Call = Callable[[Any], None]


class Template:
    """A single server. Each worker then starts by itself, on a core of its own if there is one."""

    __slots__ = ("_born", "_fork_s", "_host", "_start_s")

    def __init__(self, host: Host, profile: Profile) -> None:
        self._host = host
        self._fork_s, self._start_s = profile.fork_s, profile.worker_start_s
        self._born: list[Call] = []

    def fork(self, born: Call) -> None:
        """Call when the worker has joined."""
        self._born.append(born)
        if len(self._born) == 1:
            self._next(self._host.waking_s(0.0))

    def _next(self, delay_s: float) -> None:
        self._host.work(delay_s, self._fork_s, self._forked)

    def _forked(self, moment: Any) -> None:
        born = self._born.pop(0)
        if self._born:
            self._next(0.0)
        self._host.work(self._host.waking_s(0.0), self._start_s, born)
