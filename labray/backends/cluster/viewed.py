"""The arrays through which a process looks at the store, and numpy, which makes them."""

from __future__ import annotations

import sys
import threading
from functools import cache
from importlib import import_module
from typing import Any


@cache
def viewed() -> Any:
    """Arrays that hold something as long as there is a view on them."""
    np = numpy()

    class Viewed(np.ndarray):  # type: ignore[misc, name-defined]
        pin: object

    return Viewed


@cache
def numpy() -> Any:
    """Imported when first needed: a program that stores nothing large should not pay for it.

    In a thread of its own, which no signal's exception reaches: numpy cannot be imported again if that is broken off.
    """
    thread = threading.Thread(target=import_module, args=("numpy",), name="labray-import", daemon=True)
    if "numpy" not in sys.modules:
        thread.start()
        thread.join()
    return import_module("numpy")
