"""What a session keeps an eye on, and how long it waits before it acts: options of init(), checked in one place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import fields


class Watches(Struct, frozen=True):
    """deadlock_warning_s: a task that has waited for so long makes the session look for a cycle of tasks that wait
    for each other, and warn once. None: never.
    """

    deadlock_warning_s: float | None = 10.0

    def __post_init__(self) -> None:
        for name in ("deadlock_warning_s",):
            _positive(name, getattr(self, name), "seconds")


OPTIONS = tuple(field.name for field in fields(Watches))


def read(extra: Mapping[str, Any]) -> Watches:
    """What these keyword arguments of init() ask for."""
    return Watches(**{name: extra[name] for name in OPTIONS if name in extra})


def _positive(name: str, value: Any, unit: str) -> None:
    if value is None:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise ValueError(f"{name} is a positive number of {unit}, or None, not {value!r}.")
