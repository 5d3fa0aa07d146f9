"""All that means something else in a simulated process: clocks, chance, identity, waits. docs/simulator.md lists it."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING

from labray import port
from labray.backends.sim import chance, clock, identity, waits
from labray.backends.sim.patches import Current, Patches

if TYPE_CHECKING:
    from labray.backends.sim.world import World


def install(world: World, current: Current) -> Patches:
    """From now on, until it is taken off."""
    patches = Patches(current, partial(_orphaned, world))
    waits.install(patches)
    clock.install(patches)
    chance.install(patches, world.driver)
    identity.install(patches, world)
    patches.rebind()
    return patches


def _orphaned(world: World) -> None:
    """In a forked child: the session is its parent's."""
    world.closed = True
    world.interrupts.take_off()
    gc.enable()
    port.switch(None)
