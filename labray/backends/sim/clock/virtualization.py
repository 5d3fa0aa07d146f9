"""All that means something else in a simulated process: clocks, chance, identity, waits. docs/simulator.md lists it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

from labray.backends.sim.clock import process_identity, randomness, virtual_clock, virtual_waits
from labray.backends.sim.clock.patches import Patches

if TYPE_CHECKING:
    from labray.backends.sim.clients.client_world import ClientWorld


class Virtualization:
    """Installed from when it is made until it is taken off. Python's collector runs only where the event queue says.

    orphaned: what to do in a forked child, whose session is its parent's.
    """

    def __init__(self, world: ClientWorld, orphaned: Callable[[], None]) -> None:
        self._orphaned = orphaned
        self._collecting = gc.isenabled()
        gc.disable()
        self._patches = Patches(world.current, self._forked)
        virtual_waits.install(self._patches)
        virtual_clock.install(self._patches)
        randomness.install(self._patches, world.driver)
        process_identity.install(self._patches, world)
        self._patches.rebind()

    def take_off(self) -> None:
        """Idempotent; broken off by an exception it is to be called again."""
        self._patches.take_off()

    def collect_again(self) -> None:
        """When all that the simulation held is let go of."""
        if self._collecting:
            gc.enable()

    def _forked(self) -> None:
        self._orphaned()
        gc.enable()
