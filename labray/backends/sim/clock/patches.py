"""Names of modules that mean something else in a simulated process, for the length of a session.

Code that runs in a simulated process (the driver's too) gets the simulated function; other threads, a forked child and
everybody after the session the real one. Names that the program took before (`from time import time`) are replaced as
well where they are module globals of the program: not in the standard library, not in what is installed. Whatever was
replaced or taken during the session is the real one again afterwards; what still holds a patched function (a default
argument, say) has the real clock then, and the virtual one in the next session.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

from labray.backends.sim.clients.simulated_worker import SimWorker

if TYPE_CHECKING:
    from labray.backends.sim.clients.simulated_client import SimClient

Current = Callable[[], "SimClient | None"]
"""The simulated process whose code runs; None: this is not simulated code."""

_FOREIGN = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_OWN = frozenset({"labray", "cloudpickle", "greenlet", "msgspec", "simpy", *sys.stdlib_module_names})


def _nobody() -> SimClient | None:
    return None


_current: Current = _nobody
_installed: list[Patches] = []


class Patches:
    """What is replaced, until it is taken off. orphaned: what to do in a forked child, which has no session."""

    def __init__(self, current: Current, orphaned: Callable[[], None]) -> None:
        global _current
        self._before, _current = _current, current
        self._orphaned = orphaned
        self._undo: list[Callable[[], None]] = []
        self._patched: dict[int, tuple[Any, Any]] = {}  # by id: the real one, and what stands for it
        self._late: list[ImportHook] = []
        self._known = set(sys.modules)
        _installed.append(self)

    def replace(self, module: Any, name: str, simulated: Callable[..., Any]) -> None:
        """Call this one, with the client before the arguments, where a simulated process calls that."""
        real = getattr(module, name)
        where, what = module.__name__, name
        if isinstance(module, type):
            where, what = module.__module__, f"{module.__qualname__}.{name}"
        patched = standing_for(real, where, what, simulated)
        self._patched[id(real)] = real, patched
        self.put(module, name, patched)

    def replace_in_tasks(self, module: Any, name: str, simulated: Callable[..., Any]) -> None:
        """The driver is the real process, and keeps the real function."""
        real = getattr(module, name)

        def of(client: SimClient, *args: Any, **kwargs: Any) -> Any:
            return (
                simulated(client, *args, **kwargs) if isinstance(client, SimWorker) else real(*args, **kwargs)
            )

        self.replace(module, name, of)

    def put(self, module: Any, name: str, value: Any) -> None:
        """Let a module's name mean this, for everybody."""
        real = getattr(module, name)
        self.undo_later(lambda: setattr(module, name, real))
        setattr(module, name, value)

    def undo_later(self, undo: Callable[[], None]) -> None:
        """Call this at the end; what was done last is undone first."""
        self._undo.append(undo)

    def when_imported(self, name: str, then: Callable[[ModuleType], None]) -> None:
        """Call with this module: now if it is there, else when the program imports it."""
        if name in sys.modules:
            then(sys.modules[name])
            return
        self._late.append(ImportHook(name, then))
        sys.meta_path.insert(0, self._late[-1])

    def rebind(self) -> None:
        """What the program took from modules before is replaced as well."""
        for module in _programs_own(sys.modules):
            _exchange(module, self._patched)

    def take_off(self) -> None:
        """Put the real ones back. Idempotent; broken off by an exception it is to be called again."""
        global _current
        if self not in _installed:
            return
        _current = self._before
        for late in self._late:
            if late in sys.meta_path:
                sys.meta_path.remove(late)
        back = {id(patched): (patched, real) for real, patched in self._patched.values()}
        new = [module for name, module in sys.modules.items() if name not in self._known]
        for module in (*_programs_own(sys.modules), *new):
            _exchange(module, back)
        while self._undo:
            self._undo[-1]()
            self._undo.pop()
        _installed.remove(self)

    def abandon(self) -> None:
        """In a forked child: it is a real process."""
        self.take_off()
        self._orphaned()


def standing_for(real: Callable[..., Any], module: str, name: str, simulated: Callable[..., Any]) -> Any:
    """A function that is the simulated one in a simulated process, and the real one elsewhere."""

    def patched(*args: Any, **kwargs: Any) -> Any:
        client = _current()
        return real(*args, **kwargs) if client is None else simulated(client, *args, **kwargs)

    # pickled by name: a function that refers to it finds whatever is there when it is loaded
    patched.__module__, patched.__name__, patched.__qualname__ = module, name.rpartition(".")[2], name
    patched.__doc__ = getattr(real, "__doc__", None)
    return patched


class ImportHook(MetaPathFinder):
    """Waits for the import of one module."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def loaded(module: ModuleType) -> None:
                load(module)
                self._then(module)

            spec.loader.exec_module = loaded  # type: ignore[method-assign]
        return spec


def _programs_own(modules: dict[str, ModuleType]) -> Iterator[ModuleType]:
    """Modules of the program itself."""
    for name, module in list(modules.items()):
        if name in _foreign:
            continue
        file = getattr(module, "__file__", None) or ""
        if name.partition(".")[0] in _OWN or any(part in file for part in _FOREIGN):
            _foreign.add(name)
        else:
            yield module


_foreign: set[str] = set()  # names of modules that are not: there are many


def _exchange(module: Any, instead: dict[int, tuple[Any, Any]]) -> None:
    names = getattr(module, "__dict__", {})
    for name, value in list(names.items()):
        found = instead.get(id(value))
        if found is not None:
            names[name] = found[1]


def _forked() -> None:
    for patches in _installed[::-1]:
        patches.abandon()


os.register_at_fork(after_in_child=_forked)
