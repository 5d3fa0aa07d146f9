"""Chance in a simulated process: the global generators of `random` and `numpy.random`, and the system's entropy.

Each task has generators of its own, seeded by the session's seed, its id and its attempt; so has each life of an
actor, from its constructor on, and the main program. Nobody's draws depend on anybody else's; who draws nothing pays
nothing. Entropy (`os.urandom`, and with it `uuid4`, `secrets`, SystemRandom, `Random()` and `default_rng()` without a
seed) is drawn from such a generator too: one seed, one run. It is not for keys.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import uuid
from collections.abc import Callable
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import cloudpickle

from labray.serialization import identities

if TYPE_CHECKING:
    from labray.backends.sim.clients.simulated_client import SimClient
    from labray.backends.sim.clock.patches import Patches

_SHARED: Any = random._inst  # whose methods the module's functions are
_NUMPY_ALIASES = {"seed": "seed", "sample": "random_sample", "ranf": "random_sample"}
"""Functions of numpy.random that are no methods, and the methods they call."""


class RandomStreams:
    """The generators of what runs in a process, made when they are drawn from first."""

    __slots__ = ("_entropy", "_numpy", "_random", "_words", "run")

    def __init__(self, run: Any, words: str) -> None:
        self.run = run
        self._words = words
        self._random: Any = None
        self._numpy: Any = None
        self._entropy: random.Random | None = None

    @property
    def random(self) -> Any:
        """What the functions of `random` draw from."""
        if self._random is None:
            self._random = random.Random(self._words)
        return self._random

    def numpy(self, module: Any) -> Any:
        """What the functions of `numpy.random` draw from: a RandomState."""
        if self._numpy is None:
            self._numpy = module.RandomState(module.MT19937(self.numpy_seed()))
        return self._numpy

    def numpy_seed(self) -> int:
        return random.Random(f"{self._words} numpy").getrandbits(32)

    def entropy(self, size: int) -> bytes:
        """As from the system."""
        if self._entropy is None:
            self._entropy = random.Random(f"{self._words} entropy")
        return self._entropy.randbytes(size)

    def is_the_module(self) -> None:
        """Of the main program: it draws from the module's own generators, as do those who took their methods."""
        self._random = _SHARED
        _SHARED.seed(self._words)

    def is_numpys(self, module: Any) -> None:
        self._numpy = module.mtrand._rand
        self._numpy.seed(self.numpy_seed())


def of(client: SimClient) -> RandomStreams:
    """The generators of what runs there: a task's own, or its actor's."""
    chance: RandomStreams | None = client.chance
    run = client.running
    if chance is not None and chance.run is run:
        return chance
    creation = client.creation
    if run is not None and run.spec.kind == "method" and creation is not None:
        if chance is None or chance.run is not creation:
            chance = client.chance = RandomStreams(creation, _words(client, creation))
        return chance
    chance = client.chance = RandomStreams(run, _words(client, run))
    return chance


def _words(client: SimClient, run: Any) -> str:
    who = client.client if run is None else f"{run.spec.id} {run.attempt}"
    return f"{client.context.seed} {who}"


def install(patches: Patches, driver: SimClient) -> None:
    """Generators of their own for all, and the module's for the driver, as it was before when the session is over."""
    before = _SHARED.getstate()
    patches.undo_later(lambda: _SHARED.setstate(before))
    of(driver).is_the_module()
    for name in random.__all__:
        if getattr(getattr(random, name), "__self__", None) is _SHARED:
            patches.replace(random, name, _method(name))
    _entropy(patches, RandomStreams(None, f"{driver.context.seed} imports"))
    patches.when_imported("numpy.random", lambda module: _numpy(patches, driver, module))


def _method(name: str) -> Callable[..., Any]:
    return lambda client, *args, **kwargs: getattr(of(client).random, name)(*args, **kwargs)


def _entropy(patches: Patches, imports: RandomStreams) -> None:
    """imports: what modules draw that are imported now, once in a process and not once in a session."""
    urandom, seed = os.urandom, random.Random.seed

    def entropy(client: SimClient, size: int, flags: int = 0) -> bytes:
        return (imports if _importing() else of(client)).entropy(size)

    def seeded(client: SimClient, generator: random.Random, a: Any = None, version: int = 2) -> None:
        seed(generator, int.from_bytes(entropy(client, 32)) if a is None else a, version)

    patches.replace(os, "urandom", entropy)
    patches.replace(os, "getrandom", entropy)
    patches.put(random, "_urandom", os.urandom)
    patches.replace(random.Random, "seed", seeded)

    # what pickling draws, to tell things apart, must not be missing in the program's own row
    patches.put(identities, "token_hex", lambda size: urandom(size).hex())
    own = SimpleNamespace(uuid4=lambda: uuid.UUID(bytes=urandom(16), version=4))
    patches.put(cloudpickle.cloudpickle, "uuid", own)
    # temporary files are real: their names are one generator's, which is made anew for each process that comes to it
    patches.put(tempfile, "_Random", lambda: random.Random(urandom(32)))


def _importing() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _numpy(patches: Patches, driver: SimClient, module: Any) -> None:
    shared = module.mtrand._rand
    before = shared.get_state()
    patches.undo_later(lambda: shared.set_state(before))
    driver.chance.is_numpys(module)
    for name in module.__all__:
        method = _NUMPY_ALIASES.get(name)
        if method is None and getattr(getattr(module, name), "__self__", None) is shared:
            method = name
        if method is not None:
            patches.replace(module, name, _numpy_method(module, method))


def _numpy_method(module: Any, name: str) -> Callable[..., Any]:
    return lambda client, *args, **kwargs: getattr(of(client).numpy(module), name)(*args, **kwargs)
