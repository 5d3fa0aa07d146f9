"""Cluster: nodes that come and go while a program runs, as Ray's test utility of this name has it.

    cluster = Cluster(head_node_args={"num_cpus": 1})
    node = cluster.add_node(num_cpus=2, resources={"disk": 1})
    cluster.remove_node(node)        # killed, with all its processes
    cluster.shutdown()

On the cluster backend a node is a daemon with workers and a store of its own, on this machine. With backend="sim" it is
a simulated machine, and all waiting is in virtual time: a test of nodes that come and go takes milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from labray import backends, session
from labray.backends.contract import Elastic

PAUSE_S = 0.005


class ClusterNode(Struct, frozen=True):
    """One node. name: the place, as in `labray.nodes()`."""

    name: str

    @property
    def node_id(self) -> str:
        return self.name


class Cluster:
    """A session that this object starts. head_node_args: num_cpus and resources of the first node.

    init: what else `labray.init` takes, such as `scheduler` or `backend`.
    """

    def __init__(
        self,
        initialize_head: bool = True,
        connect: bool = True,
        head_node_args: Mapping[str, Any] | None = None,
        **init: Any,
    ) -> None:
        growing = backends.load(init.get("backend", session.BACKEND)).growing  # a node may join that can
        self._init = {**growing, **init}
        self._nodes: list[ClusterNode] = []
        if initialize_head:
            self.add_node(**(head_node_args or {}))
        elif head_node_args:
            raise TypeError("head_node_args are for the head: leave initialize_head=True.")

    def add_node(
        self, num_cpus: float = 1, resources: Mapping[str, float] | None = None, wait: bool = True
    ) -> ClusterNode:
        """Start a node; the first one starts the session. It is up when this returns."""
        if not self._nodes:
            session.init(num_cpus=num_cpus, resources=resources, **self._init)
            node = ClusterNode("n0")
        else:
            node = ClusterNode(self._elastic().add_node(num_cpus, resources or {}))
        self._nodes.append(node)
        return node

    def remove_node(self, node: ClusterNode, allow_graceful: bool = False) -> None:
        """Kill a node. ValueError for the first one, which is the driver's, and for one that is gone.

        allow_graceful has no effect: a node does nothing before it goes.
        """
        if node not in self._nodes:
            raise ValueError(f"{node!r} is not a living node of this cluster.")
        self._elastic().remove_node(node.name)
        self._nodes.remove(node)

    def list_all_nodes(self) -> list[ClusterNode]:
        """The nodes that were added and not removed, in order."""
        return list(self._nodes)

    def wait_for_nodes(self, timeout: float = 30.0) -> None:
        """Wait until the session knows exactly these nodes to be alive. TimeoutError after so many seconds."""
        deadline = time.monotonic() + timeout
        wanted = {node.name for node in self._nodes}
        while (alive := {n["NodeID"] for n in session.running().nodes if n["Alive"]}) != wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {timeout:g} s {sorted(alive)} are alive, not {sorted(wanted)}.")
            time.sleep(PAUSE_S)

    def shutdown(self) -> None:
        """End the session. It may be called again."""
        self._nodes.clear()
        session.shutdown()

    def _elastic(self) -> Elastic:
        running = session.running()
        if not isinstance(running, Elastic):
            raise NotImplementedError(f"nodes can come and go with {backends.elastic()}, and with no other.")
        return running
