"""Config: the arguments of init(), checked once and the same for every backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from labray.client.options import amount, resource_amounts
from labray.ids import HEAD, node_id
from labray.messages import UNIT
from labray.scheduling import ClusterInfo, NodeInfo, Scheduler

MOST_NODES = 10_000
MOST_CPUS = 1_000_000
"""CPUs of all nodes together: a node starts a worker for each of them."""
INIT_OPTIONS = (
    "backend", "nodes", "num_cpus", "resources", "scheduler", "seed", "strict", "trace", "ignore_reinit_error",
)  # fmt: skip


class Config(Struct, frozen=True):
    """num_cpus, resources: what each node offers. extra: options that only this backend knows."""

    backend: str
    nodes: int
    num_cpus: float
    resources: Mapping[str, float]
    scheduler: Scheduler
    seed: int = 0
    strict: bool = False
    trace: bool = True
    extra: Mapping[str, Any] = {}

    def __post_init__(self) -> None:
        _whole("nodes", self.nodes, 1, MOST_NODES)
        _whole("seed", self.seed, 0, 2**63 - 1)
        amount("num_cpus", self.num_cpus)
        if self.nodes * self.num_cpus > MOST_CPUS:
            raise ValueError(
                f"num_cpus is {MOST_CPUS:,} at most on all nodes together, not {self.nodes} x {self.num_cpus:g}."
            )
        resource_amounts("resources", self.resources)
        for name in self.resources:
            if name.startswith("node:"):
                raise ValueError(f"{name!r} is reserved: every node offers node:<its name> by itself.")
        for name in ("strict", "trace"):
            if not isinstance(getattr(self, name), bool):
                path = " or a file's path" if name == "trace" else ""
                raise TypeError(f"{name} is True or False{path}, not {getattr(self, name)!r}.")

    def cluster(self) -> ClusterInfo:
        """The nodes n0, n1, ... with what each offers, and the head."""
        return ClusterInfo(tuple(self._node(f"n{at}") for at in range(self.nodes)), HEAD)

    def _node(self, name: str) -> NodeInfo:
        return node_info(name, self.num_cpus, self.resources)

    def total_resources(self) -> dict[str, float]:
        """The resources of the whole cluster; those that are zero are left out."""
        totals: dict[str, float] = {}
        for node in self.cluster().nodes:
            for name, units in node.totals:
                totals[name] = totals.get(name, 0.0) + units / UNIT
        return totals

    def describe_nodes(self) -> list[dict[str, Any]]:
        """What nodes() returns: one dict for each node, in Ray's words."""
        return [describe_node(node, True) for node in self.cluster().nodes]


def node_info(name: str, num_cpus: float, resources: Mapping[str, float]) -> NodeInfo:
    """What a node offers, checked; each offers `node:<its name>` besides."""
    amounts = resource_amounts("resources", resources)
    amounts |= {"CPU": amount("num_cpus", num_cpus), f"node:{name}": UNIT}
    return NodeInfo(node_id(name), tuple(sorted((key, units) for key, units in amounts.items() if units)))


def describe_node(node: NodeInfo, alive: bool) -> dict[str, Any]:
    """A node in Ray's words, as nodes() returns it."""
    return {
        "NodeID": node.place,
        "Alive": alive,
        "Resources": {name: units / UNIT for name, units in node.totals},
    }


def _whole(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {value!r}.")
    if not least <= value <= most:
        raise ValueError(f"{name} is between {least} and {most}, not {value!r}.")


def processes(name: str, value: Any, least: int) -> int | None:
    """A number of processes that a backend's own option of this name asks for, or None. ValueError if it is neither."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise ValueError(f"{name}={value!r} is not a number of processes, {least} or more.")
    return value
