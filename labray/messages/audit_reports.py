"""What a node holds, as it tells when it is asked: the values of the reference audit that tests and the soak read.

They name everything that could be left behind: objects and why each is kept, tasks, actors, pipes, resources in use,
and the size of every table. Nothing in a running program asks.
"""

from __future__ import annotations

from labray.ids import ClientID, NodeID, ObjectID, TaskID
from labray.messages import Demand, WireValue

Counts = tuple[tuple[ObjectID, int], ...]
"""Objects and how often, in the order in which they came."""


class HeldObject(WireValue, frozen=True, array_like=True, gc=False):
    """One object as one place knows it.

    state: pending, inline, stored (here), remote, failed, or block (freed, but views are on it). size in bytes.
    places: whose stores have it, at the owner. holds: how often it is needed at this place, which is the sum of
    handles (of clients), arguments (of tasks), nested (in values), lineage, and code (1: it is never let go of).
    loans: at the owner, what other places hold; given: at such a place, how many of those loans. pins: views.
    """

    id: ObjectID
    owner: NodeID
    state: str
    size: int
    places: tuple[NodeID, ...]
    holds: int
    handles: int
    arguments: int
    nested: int
    lineage: int
    code: int
    pins: int
    given: int
    loans: tuple[tuple[NodeID, int], ...]

    @property
    def unexplained(self) -> int:
        """How many holds of this object nobody accounts for."""
        return self.holds - self.handles - self.arguments - self.nested - self.lineage - self.code

    @property
    def needed(self) -> bool:
        """Whether the object is anything but code, which stays for good."""
        return not (self.code and self.handles <= 1 and not (self.arguments or self.nested or self.pins))


class HeldClient(WireValue, frozen=True, array_like=True, gc=False):
    """A driver or worker: what it was given and has not dropped, its views, and its open questions."""

    id: ClientID
    handles: Counts
    pins: Counts
    requests: int


class HeldTask(WireValue, frozen=True, array_like=True, gc=False):
    """A task on record. mine: it was submitted here. at: who has custody, if another place has."""

    id: TaskID
    name: str
    state: str
    attempt: int
    mine: bool
    at: NodeID | None


class HeldActor(WireValue, frozen=True, array_like=True, gc=False):
    """An actor. role: owned (its creation was submitted here), resident (it lives here) or known (called from here)."""

    id: ObjectID
    role: str
    state: str
    at: NodeID | None


class HeldPipe(WireValue, frozen=True, array_like=True, gc=False):
    """A worker: what was sent to it and has not ended, in order; whose process it is; the resources it uses."""

    worker: ClientID
    tasks: tuple[TaskID, ...]
    actor: ObjectID | None
    uses: Demand


class Held(WireValue, frozen=True, array_like=True, gc=False):
    """All that one place holds. in_use: resources in 1e-4. waiting: what waits for what, in words.

    tables: the name and size of each table, those of which nothing else here tells as well.
    """

    place: NodeID
    objects: tuple[HeldObject, ...]
    clients: tuple[HeldClient, ...]
    tasks: tuple[HeldTask, ...]
    actors: tuple[HeldActor, ...]
    pipes: tuple[HeldPipe, ...]
    in_use: Demand
    waiting: tuple[str, ...]
    tables: tuple[tuple[str, int], ...]

    def left(self) -> list[str]:
        """A sentence for each thing that would not be here if nothing were needed any more."""
        lines = [f"{self.place} holds {_told(each)}" for each in self.objects if each.needed]
        lines += [f"{self.place} has task {t.id} ({t.name}), {t.state}" for t in self.tasks]
        lines += [f"{self.place} has actor {a.id}, {a.role}, {a.state}" for a in self.actors]
        lines += [f"{c.id} waits for {c.requests} answers" for c in self.clients if c.requests]
        lines += [f"{self.place} has {amount / 10_000:g} {name} in use" for name, amount in self.in_use]
        return lines

    def wrong(self) -> list[str]:
        """A sentence for each object whose count of holds differs from what its holders need."""
        return [f"{self.place}: {_told(each)}" for each in self.objects if each.unexplained]


def at_odds(places: tuple[Held, ...]) -> list[str]:
    """Sentences about owners and borrowers whose counts differ; while messages are under way they may."""
    owners = {(place.place, each.id): dict(each.loans) for place in places for each in place.objects}
    told = []
    for place in places:
        for each in place.objects:
            if each.owner not in (place.place, ""):
                lent = owners.get((each.owner, each.id), {}).get(place.place, 0)
                if lent != each.given:
                    told.append(
                        f"{each.owner} has lent {each.id} {lent} times to {place.place}, which has {each.given}"
                    )
    return told


def _told(each: HeldObject) -> str:
    why = [f"{n} {name}" for name in _REASONS if (n := getattr(each, name))]
    why += [f"{count} lent to {place}" for place, count in each.loans]
    return f"{each.id} of {each.owner or 'nobody'} ({each.state}, {each.size} bytes): {', '.join(why) or 'for nothing'}"


_REASONS = ("handles", "arguments", "nested", "lineage", "code", "unexplained", "pins", "given")
