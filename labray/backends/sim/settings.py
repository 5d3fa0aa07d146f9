"""What `init(backend="sim", ...)` takes beyond what every backend takes, checked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from labray.costs import Costs, Declared, Profile, profile_named


class Settings(Struct, frozen=True):
    """Options of the simulator.

    profile: service times, or their name (`default`, `free`). costs: how long bodies take. latency_s, bandwidth_Bps:
    between nodes, one way, bytes per second. host_cores: all processes of all nodes share one machine of so many
    cores; None: each node has a machine with cores enough. speeds: of nodes, 1.0 where not named.
    max_events: raise DeadlockError after so many events; None: never.
    """

    profile: Profile = Profile()
    costs: Costs = Declared()
    latency_s: float = 50e-6
    bandwidth_Bps: float = 1.25e9
    host_cores: int | None = None
    speeds: Mapping[str, float] = {}
    max_events: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.latency_s, int | float) or not 0 <= self.latency_s < float("inf"):
            raise ValueError(f"latency_s is a number of seconds, 0 or more, not {self.latency_s!r}.")
        if not isinstance(self.bandwidth_Bps, int | float) or not self.bandwidth_Bps > 0:
            raise ValueError(
                f"bandwidth_Bps is a positive number of bytes per second, not {self.bandwidth_Bps!r}."
            )
        for name in ("host_cores", "max_events"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} is a whole number of at least 1, or None, not {value!r}.")
        for node, speed in self.speeds.items():
            if not 0 < speed < float("inf"):
                raise ValueError(f"speeds[{node!r}] is a positive number, not {speed!r}.")


OPTIONS = tuple(field.name for field in fields(Settings))


def read(extra: Mapping[str, Any]) -> Settings:
    """The settings that these keyword arguments of init() ask for."""
    given = dict(extra)
    if "profile" in given:
        given["profile"] = profile_named(given["profile"])
    return Settings(**given)
