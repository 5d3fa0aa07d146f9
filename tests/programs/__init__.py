"""User programs, each as a Ray user would write it, with the result that it must give in every world.

A module has `main(ray)` and EXPECTED. One that sleeps takes `second`, the length of a second: real worlds shorten
it. WITHOUT names the worlds that cannot run it; PINNED the objects that a function captures, which therefore stay for
the session. Every node offers, beside its CPUs, two of the resource `tape`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

TAPE: dict[str, Any] = {"resources": {"tape": 2}}
"""What every node must offer beside its CPUs, as options of init()."""
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def load(name: str) -> ModuleType:
    """The program of this name."""
    return import_module(f"{__name__}.{name}")


def run(name: str, ray: ModuleType, second: float = 1.0) -> object:
    """The result of a program in the session that is running."""
    main = load(name).main
    return main(ray, second) if main.__code__.co_argcount == 2 else main(ray)
