"""All that means something else in a simulated process: clocks, chance, identity, waits. docs/simulator.md lists it."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING

from labray.backends.sim import chance, clock, identity, waits
from labray.backends.sim.patches import Current, Patches
from labray.errors import LabrayError

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
    world.broke(
        LabrayError(
            "this process was forked from one that uses labray; the session belongs to its parent. "
            "Call labray.init() in the child before anything else, or use tasks instead of fork."
        )
    )
    world.interrupts.take_off()
    gc.enable()
