"""Where a task asks to run: the scheduling strategies, as types. (Ray's `scheduling_strategy`.)

They are made once, at the boundary (options.py), and travel with the task. Who needs to know asks the value what it
requires, and which nodes it allows. Two that ask for the same are equal: a strategy is part of a request's shape.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from labray.ids import NodeID


class Default(Struct, frozen=True, array_like=True, tag=0, gc=False):
    """The policy decides, by all it knows."""

    required_node: ClassVar[NodeID | None] = None
    label: ClassVar[str] = ""

    def allowed(self, fitting: tuple[NodeID, ...]) -> tuple[NodeID, ...]:
        """Of the nodes that could run the task, those where it may run."""
        return fitting


class Spread(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Evenly over the nodes, whoever is idle."""

    required_node: ClassVar[NodeID | None] = None
    label: ClassVar[str] = "SPREAD"

    def allowed(self, fitting: tuple[NodeID, ...]) -> tuple[NodeID, ...]:
        """Of the nodes that could run the task, those where it may run."""
        return fitting


class NodeAffinity(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """On this node. Where it cannot run there, the task fails; if soft, it may then run elsewhere."""

    node: NodeID
    soft: bool = False

    @property
    def label(self) -> str:
        """By what it is told from others where a policy's agents name the shape of a request."""
        return f"{'soft' if self.soft else 'node'}:{self.node}"

    @property
    def required_node(self) -> NodeID | None:
        """The one node where the task may run, if there is only one."""
        return None if self.soft else self.node

    def allowed(self, fitting: tuple[NodeID, ...]) -> tuple[NodeID, ...]:
        """Of the nodes that could run the task, those where it may run."""
        if self.node in fitting:
            return (self.node,)
        return fitting if self.soft else ()


Strategy = Default | Spread | NodeAffinity

DEFAULT = Default()
SPREAD = Spread()
