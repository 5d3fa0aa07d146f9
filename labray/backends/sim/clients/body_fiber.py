"""The fiber on which a simulated worker's bodies run, and the CPU time that they take there."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time
from typing import TYPE_CHECKING

from greenlet import GreenletExit, greenlet

from labray.backends.sim.clock import asyncio_loops
from labray.client import runtime

if TYPE_CHECKING:
    from labray.backends.sim.clients.client_context import ClientContext
    from labray.client.process import Process


class BodyFiber:
    """Of one slot of a worker (owner); it is made with the first body and reused for all.

    cpu_s: of the running body, measured here or as the costs say. greenlet: None before the first body.
    """

    __slots__ = ("_clocked", "_context", "_entered", "_owner", "cpu_s", "greenlet")

    def __init__(self, context: ClientContext, owner: object) -> None:
        self._context = context
        self._owner = owner
        self._clocked = context.costs.clocked
        self._entered = 0.0
        self.cpu_s = 0.0
        self.greenlet: greenlet | None = None

    def enter(self, live: Callable[[], None], process: Process | None) -> bool:
        """Let it run until its task has ended (True), or waits for something. live: the worker's main function."""
        context = self._context
        if self.greenlet is None:
            self.greenlet = greenlet(live, context.hub)
        before, speaker, context.active = runtime.switch(process), context.active, self._owner
        if self._clocked:
            self._entered = thread_time()
        try:
            return asyncio_loops.switch(self.greenlet)  # type: ignore[no-any-return]
        finally:
            context.active = speaker
            runtime.switch(before)

    def measure(self) -> None:
        """Add what has been computed since it was entered: the time of other fibers is not its own."""
        if self._clocked:
            self.cpu_s += thread_time() - self._entered

    def suspend(self) -> None:
        """From the fiber: let the world go on until it is run again."""
        if self._clocked:
            self.cpu_s += thread_time() - self._entered
        asyncio_loops.switch(self._context.hub, False)

    def unwind(self, process: Process | None) -> None:
        """From the hub: end what runs there."""
        fiber = self.greenlet
        if fiber is None or fiber.dead:
            return
        context = self._context
        before, speaker, context.active = runtime.switch(process), context.active, self._owner
        for _ in range(8):  # a body may catch BaseException in a loop; then the collector has to take it
            fiber.throw(GreenletExit)
            if fiber.dead:
                break
        context.active = speaker
        runtime.switch(before)
