"""What `init(backend="sim", ...)` takes beyond what every backend takes, checked in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from labray.backends.sim.network.fabric import MODES, NetworkSpec
from labray.config import MOST_CPUS, processes
from labray.costs import Costs, Declared
from labray.faults import Faults, Straggling
from labray.ids import HEAD
from labray.profiles import PROFILES, Profile, profile_named

FAIR_TO = ("flows", "pairs")
HEADS = ("n0", "own")
INFEASIBLE = ("fails", "waits")


class Settings(Struct, frozen=True):
    """Options of the simulator.

    profile: service times, their name (`default`, `free`), or the .toml file that `labray calibrate` wrote.
    costs: how long bodies take. latency_s, bandwidth_Bps:
    between nodes, one way, bytes per second. host_cores: all processes of all nodes share one machine of so many
    cores; None: each node has a machine with cores enough. speeds: of nodes, 1.0 where not named.
    max_events: raise DeadlockError after so many events; None: never. network, core_Bps, fair_to, pulls, pulls_from:
    how objects share the links (fabric.py, Wires); fair_to: `flows` or `pairs`. head: `n0`, in that node's process,
    or `own`, on a machine of its own. faults: what goes wrong (a Faults, or TOML). validate: check every node's
    invariants after every input. infeasible: a request that no node could ever meet `fails` at once, or `waits`, with a
    warning, for a node that joins. blocked_s: real seconds after which a body that waits for a real lock is ended with
    an error; None: never. object_store_memory: bytes that each node's store may hold; None: no limit. disk_Bps: how
    fast each node spills and restores, bytes per second. max_workers: of each node's processes; None: as on a cluster.
    What would have no effect is refused.
    """

    profile: Profile = PROFILES["default"]
    costs: Costs = Declared()
    latency_s: float = 50e-6
    bandwidth_Bps: float = 1.25e9
    host_cores: int | None = None
    speeds: Mapping[str, float] = {}
    max_events: int | None = None
    network: str = "maxmin"
    core_Bps: float | None = None
    fair_to: str = "flows"
    pulls: int | None = None
    pulls_from: int | None = None
    head: str = "n0"
    blocked_s: float | None = 10.0
    infeasible: str = "fails"
    faults: Faults | None = None
    validate: bool = False
    object_store_memory: int | None = None
    disk_Bps: float = 500e6
    max_workers: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.latency_s, int | float) or not 0 <= self.latency_s < float("inf"):
            raise ValueError(f"latency_s is a number of seconds, 0 or more, not {self.latency_s!r}.")
        for name in ("bandwidth_Bps", "disk_Bps", "core_Bps", "blocked_s"):
            value = getattr(self, name)
            if name in ("core_Bps", "blocked_s") and value is None:
                continue
            if not isinstance(value, int | float) or not value > 0:
                unit = "seconds" if name == "blocked_s" else "bytes per second"
                raise ValueError(f"{name} is a positive number of {unit}, not {value!r}.")
        named = {"network": MODES, "fair_to": FAIR_TO, "head": HEADS, "infeasible": INFEASIBLE}
        for name, known in named.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}, not {getattr(self, name)!r}.")
        for name in ("host_cores", "max_events", "pulls", "pulls_from", "object_store_memory"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} is a whole number of at least 1, or None, not {value!r}.")
        processes("max_workers", self.max_workers, 1)
        if self.host_cores is not None and self.host_cores > MOST_CPUS:
            raise ValueError(f"host_cores is {MOST_CPUS:,} at most, not {self.host_cores:,}.")
        if not isinstance(self.speeds, Mapping):
            raise TypeError(f"speeds is a dict from names of nodes to numbers, not {self.speeds!r}.")
        for node, speed in self.speeds.items():
            if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < float("inf"):
                raise ValueError(f"speeds[{node!r}] is a positive number, not {speed!r}.")
        if not isinstance(self.validate, bool):
            raise TypeError(f"validate is True or False, not {self.validate!r}.")
        self._refuse_idle()

    def _refuse_idle(self) -> None:
        """ValueError for what is set and would have no effect, beside what else is set."""
        idle = {
            "speeds": ("with host_cores: all nodes share one machine", self.host_cores is not None),
            "core_Bps": ('but with network="maxmin"', self.network != "maxmin"),
            "fair_to": ('but with network="maxmin"', self.network != "maxmin"),
            "bandwidth_Bps": ('with network="instant"', self.network == "instant"),
            "pulls": ('with network="instant"', self.network == "instant"),
            "pulls_from": ('with network="instant"', self.network == "instant"),
            "disk_Bps": ("without object_store_memory: nothing spills", self.object_store_memory is None),
        }
        for field in fields(self):
            why, applies = idle.get(field.name, ("", False))
            if applies and getattr(self, field.name) not in (field.default, {}):
                raise ValueError(f"{field.name}={getattr(self, field.name)!r} has no effect {why}.")

    def check_cluster(self, names: Sequence[str], strict: bool) -> None:
        """ValueError for what does not go with a cluster of these nodes."""
        for node in self.speeds:
            if node not in names and not (node == HEAD and self.head == "own"):
                some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
                raise ValueError(f"speeds names {node!r}, but the nodes are {some}.")
        if strict and self.infeasible == "waits":
            raise ValueError('strict=True has no effect with infeasible="waits": leave one of them out.')

    def wires(self) -> NetworkSpec:
        """The network that these settings describe."""
        return NetworkSpec(
            self.network, self.latency_s, self.bandwidth_Bps, self.profile.local_Bps, self.profile.hop_s,
            self.core_Bps, self.fair_to == "pairs", self.pulls, self.pulls_from,
        )  # fmt: skip

    def body_costs(self) -> Costs:
        """What bodies cost, stragglers among them."""
        if self.faults is None or self.faults.stragglers is None:
            return self.costs
        return Straggling(self.costs, self.faults.stragglers, self.faults.seed)


def _profile(given: Any) -> Profile:
    if not isinstance(given, Path) and not (isinstance(given, str) and given.endswith(".toml")):
        return profile_named(given)
    try:
        return Profile.from_toml(Path(given).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read the profile {str(given)!r}: {error.strerror}.") from None
    except ValueError as error:
        raise ValueError(f"{given}: {error}") from None


OPTIONS = tuple(field.name for field in fields(Settings))


def read(extra: Mapping[str, Any]) -> Settings:
    """The settings that these keyword arguments of init() ask for."""
    given = dict(extra)
    if "profile" in given:
        given["profile"] = _profile(given["profile"])
    if isinstance(given.get("faults"), str):
        given["faults"] = Faults.from_toml(given["faults"])
    if not isinstance(given.get("faults"), Faults | None):
        raise TypeError(f"faults is a labray.Faults or its TOML, not {given['faults']!r}.")
    return Settings(**given)
