"""What a session keeps an eye on, and how long it waits before it acts: options of init(), checked in one place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import fields


class MonitorOptions(Struct, frozen=True):
    """None: never.

    deadlock_warning_s: a task that has waited for so long makes the session look for a cycle of tasks that wait for
    each other, and warn once. heartbeat_timeout_s: a worker or daemon that is stopped, or a daemon that says nothing,
    for so long is declared dead. memory_usage_threshold: the share of the machine's (or container's) memory in use
    above which a worker is ended. worker_memory_limit: bytes that the workers of a node may have together, beside
    what they share. memory_monitor_refresh_ms: how often memory is looked at; 0: never.
    """

    deadlock_warning_s: float | None = 10.0
    heartbeat_timeout_s: float | None = 15.0  # Ray: five checks, three seconds apart
    memory_usage_threshold: float = 0.95
    memory_monitor_refresh_ms: float = 250
    worker_memory_limit: float | None = None

    def __post_init__(self) -> None:
        for name in ("deadlock_warning_s", "heartbeat_timeout_s"):
            _positive(name, getattr(self, name), "seconds")
        _positive("worker_memory_limit", self.worker_memory_limit, "bytes")
        if self.memory_monitor_refresh_ms != 0:
            _positive("memory_monitor_refresh_ms", self.memory_monitor_refresh_ms, "milliseconds")
        _positive("memory_usage_threshold", self.memory_usage_threshold, "shares", most=1.0)


OPTIONS = tuple(field.name for field in fields(MonitorOptions))


def read(extra: Mapping[str, Any]) -> MonitorOptions:
    """What these keyword arguments of init() ask for."""
    return MonitorOptions(**{name: extra[name] for name in OPTIONS if name in extra})


def _positive(name: str, value: Any, unit: str, most: float = math.inf) -> None:
    if value is None and name not in ("memory_monitor_refresh_ms", "memory_usage_threshold"):
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= most or value == math.inf:
        limit = "" if most == math.inf else f" of at most {most:g}"
        raise ValueError(f"{name} is a positive number of {unit}{limit}, not {value!r}.")
