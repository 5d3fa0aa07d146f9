"""The clocks and the process, as user code on the simulator's thread sees them while a simulation is on.

`time.sleep`, the clocks of the `time` module, and ways for a process to end itself. Code that runs in a simulated
process gets virtual time and a simulated crash; other threads, and everybody after close, the real ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labray.backends.sim.clients import Client

EPOCH_S = 1_700_000_000.0
"""What time.time() says at virtual time 0: fixed, so that runs are alike."""

Current = Callable[[], "Client | None"]
"""The simulated process whose code runs; None: this is not simulated code."""


class Patches:
    """Functions of modules replaced by simulated ones, until taken off."""

    def __init__(self, current: Current) -> None:
        self._current = current
        self._real: list[tuple[Any, str, Any]] = []
        self._replace(time, "sleep", self._sleep)
        for name, offset in (("time", EPOCH_S), ("monotonic", 0.0), ("perf_counter", 0.0)):
            self._replace(time, name, lambda client, offset=offset: client.now() + offset)
            self._replace(
                time,
                f"{name}_ns",
                lambda client, offset=offset: round(client.now() * 1e9) + int(offset) * 10**9,
            )
        self._replace(os, "_exit", lambda client, status: client.exit(f"it called os._exit({status})"))
        self._replace(os, "kill", self._kill)

    @staticmethod
    def _sleep(client: Client, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        client.sleep(seconds)

    def _kill(self, client: Client, pid: int, signal: int) -> None:
        if pid == os.getpid() and signal:
            client.exit(f"it sent itself signal {int(signal)}")
        else:
            self._of(os, "kill")(pid, signal)

    def _of(self, module: Any, name: str) -> Any:
        return next(real for where, what, real in self._real if where is module and what == name)

    def _replace(self, module: Any, name: str, simulated: Callable[..., Any]) -> None:
        real, current = getattr(module, name), self._current

        def patched(*args: Any) -> Any:
            client = current()
            return real(*args) if client is None else simulated(client, *args)

        # pickled by name: a function that refers to it finds whatever is there when it is loaded
        patched.__module__, patched.__name__, patched.__qualname__ = module.__name__, name, name
        self._real.append((module, name, real))
        setattr(module, name, patched)

    def take_off(self) -> None:
        """Put the real ones back. Idempotent."""
        while self._real:
            module, name, real = self._real.pop()
            setattr(module, name, real)
