"""The context of a node: its parts find there the time and the other nodes, and put there what is to be done.

Effects, trace events and scheduler events are collected here while one input is handled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from labray.ids import HEAD, NodeID, ObjectID
from labray.messages import Effect, Send, SetAlarm
from labray.scheduling import ClusterInfo, Fact, ObjectStored
from labray.scheduling import Event as SchedulerEvent
from labray.trace import Event


class NodeContext:
    """now: the time of the input that is being handled, in the world's seconds."""

    __slots__ = (
        "cluster",
        "dead",
        "effects",
        "events",
        "heads",
        "interest",
        "later",
        "log",
        "now",
        "place",
        "timers",
        "tokens",
        "traced",
    )

    def __init__(
        self, place: NodeID, cluster: ClusterInfo, interest: frozenset[type[Fact]], traced: bool = True
    ) -> None:
        self.place = place
        self.cluster = cluster
        self.traced = traced
        self.interest = interest
        self.now = 0.0
        self.effects: list[Effect] = []
        self.log: list[Event] = []
        self.events: deque[SchedulerEvent] = deque()
        self.later: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self.dead: dict[NodeID, None] = {}  # places the world has declared dead; and lives of heads
        self.heads = 0  # how many heads it has
        self.timers: dict[int, Callable[[], None]] = {}  # by token: even ones, agents' are odd
        self.tokens = 0

    def incarnation(self, place: NodeID) -> NodeID:
        """The name of a node with its incarnation, of which the last counts if it is lost: all heads share one name."""
        return place if place != HEAD else NodeID(f"{HEAD}~{self.heads - (HEAD in self.dead)}")

    def living(self) -> list[NodeID]:
        """All other places that are up, as far as is known here."""
        places = (HEAD, *(node.place for node in self.cluster.nodes))
        return [place for place in places if place != self.place and place not in self.dead]

    def send(self, to: str, message: Any) -> None:
        self.effects.append(Send(to, message))  # type: ignore[arg-type]

    def do(self, effect: Effect) -> None:
        self.effects.append(effect)

    def defer(self, act: Callable[..., None], *arguments: Any) -> None:
        """Do this before the input is done with: chains of any length must not become a deep stack."""
        self.later.append((act, arguments))

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Do this when so much time has passed."""
        self.tokens += 2
        self.timers[self.tokens] = act
        self.effects.append(SetAlarm(seconds, self.tokens))

    def note(self, kind: str, subject: str, detail: Any = None) -> None:
        """Write a trace event, if anybody will read it."""
        if self.traced:
            self.log.append((self.now, kind, self.place, subject, detail))

    def tell_agent(self, event: SchedulerEvent) -> None:
        """Queue an event for the agent, if its policy wants that kind."""
        if type(event) in self.interest:
            self.events.append(event)

    def stored(self, id: ObjectID, size: int) -> None:
        if ObjectStored in self.interest:
            self.events.append(ObjectStored(id, size))
