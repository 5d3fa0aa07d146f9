"""WorkStealing: a node keeps all that is submitted there, and one that idles takes from others.

Blumofe and Leiserson (J. ACM 1999): a random victim gives half of what waits. An idle node that keeps asking would
never be quiet, so a victim with nothing to give remembers who asked, and sends the next task it has no room for
(lifelines: Saraswat et al., PPoPP 2011). What waits for its inputs, or is next in a worker's pipe, stays. To be idle is
to have more free, of CPUs or of anything else, than what waits there asks for; a thief says how much, gets what fits
into that, and asks again when it has more, if it has been told that something larger waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Literal

from msgspec import Struct

from labray.ids import NodeID
from labray.schedulers.parts.backlog import Backlog
from labray.schedulers.parts.spreading import SpreadingHead, wants_spreading
from labray.scheduling import (
    Agent,
    ClusterInfo,
    Decision,
    Fact,
    Forward,
    Keep,
    MessageReceived,
    NodeInfo,
    NodeJoined,
    NodeLost,
    Policy,
    PolicyAgent,
    PolicyMessage,
    RoomChanged,
    Task,
    TaskBlocked,
    TaskFinished,
    TaskStarted,
    TaskWithdrawn,
    Tell,
    View,
)
from labray.scheduling.sharing import movable

if TYPE_CHECKING:
    from random import Random

LIFELINES = 16
"""How many victims know that a node is idle. Up to 17 nodes, all: none then idles while tasks wait elsewhere."""


class Steal(PolicyMessage, frozen=True):
    """I have room, and nothing to do with it. free: so much, in 1e-4."""

    free: tuple[tuple[str, int], ...]


class Loot(PolicyMessage, frozen=True):
    """So many tasks follow. 0: nothing for you here, but I shall think of you; larger: there is what asks for more."""

    count: int
    larger: bool = False


class WorkStealing(Policy, frozen=True, repr_omit_defaults=True):
    """victim: whom an idle node asks first; `random`, or its next neighbours in the `ring` of nodes."""

    victim: Literal["random", "ring"] = "random"

    words: ClassVar[tuple[type[Struct], ...]] = (Steal, Loot)
    interest: ClassVar[tuple[type[Fact], ...]] = (
        TaskStarted,
        TaskFinished,
        TaskBlocked,
        TaskWithdrawn,
        RoomChanged,
        MessageReceived,
        NodeJoined,
        NodeLost,
    )

    def __post_init__(self) -> None:
        if self.victim not in ("random", "ring"):
            raise ValueError(f"victim={self.victim!r}: it is 'random' or 'ring'.")

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        if place == cluster.head:
            return SpreadingHead(cluster, view)
        return WorkStealingNode(self, cluster, view, rng)


class WorkStealingNode(PolicyAgent):
    """A node, which is thief and victim by turns."""

    def __init__(self, policy: WorkStealing, cluster: ClusterInfo, view: View, rng: Random) -> None:
        super().__init__(cluster, view)
        self._policy = policy
        self._rng = rng
        places = [node.place for node in cluster.nodes]
        at = places.index(view.place)
        self._others = [*places[at + 1 :], *places[:at]]
        self._backlog = Backlog()  # kept and not started, oldest first
        self._asked: NodeID | None = None  # whose answer is under way
        self._told: dict[str, int] = {}  # the room that we had when we asked last
        self._gave: NodeID | None = None  # who had more than it needed when we last heard
        self._known_to: dict[
            NodeID, dict[str, int]
        ] = {}  # who will think of us, and the room that we told of
        self._larger: dict[NodeID, None] = {}  # of these, who had something that asks for more
        self._hungry: dict[
            NodeID, dict[str, int]
        ] = {}  # of whom we shall think, first come first served: its room

    def task_started(self, task: Task) -> Sequence[Decision]:
        return self.task_gone(task)

    def task_gone(self, task: Task) -> Sequence[Decision]:
        self._backlog.remove(task.id)
        return self._ask_victim()

    def task_blocked(self, task: Task) -> Sequence[Decision]:
        return self._ask_victim()

    def room_changed(self) -> Sequence[Decision]:
        return self._ask_victim()

    # ------------------------------------------------------------ tasks

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        if not task.hops:
            places = self.members.feasible(task)
            if not places:
                return ()
            if wants_spreading(task) and len(places) > 1:
                return (Forward(task.id, self.head),)
            if self.place not in places:
                return (Forward(task.id, places[int(self._rng.random() * len(places))]),)
        told: Sequence[Decision] = ()
        if self._hungry and not self._has_room(task):
            thief, told = self._hungry_for(task)
            if thief is not None:
                del self._hungry[thief]
                return (*told, Tell(thief, Loot(1)), Forward(task.id, thief))
        self._backlog.hold(task)
        return (*told, Keep(task.id))

    def _has_room(self, task: Task) -> bool:
        """Whether it could start at once."""
        free, wanted = self.view.free, self._backlog.asked
        return all(free.get(name, 0) - wanted.get(name, 0) >= amount for name, amount in task.demand)

    def _hungry_for(self, task: Task) -> tuple[NodeID | None, list[Decision]]:
        """Who had room for this when it asked; of the first few. Who had too little, and shall hear so, is asked last
        the next time.
        """
        told: list[Decision] = []
        for place in list(islice(self._hungry, LIFELINES)):
            if not self._may_go(task, place):
                continue
            room = self._hungry[place]
            if fits(task, room):
                return place, told
            self._hungry[place] = self._hungry.pop(place)
            told.append(Tell(place, Loot(0, larger=True)))
        return None, told

    def _may_go(self, task: Task, to: NodeID) -> bool:
        return movable(task) and not wants_spreading(task) and self.members.could_run(task, to)

    # ------------------------------------------------------------ as a victim

    def message_received(self, sender: NodeID, body: Steal | Loot) -> Sequence[Decision]:
        if isinstance(body, Steal):
            return self._give(sender, dict(body.free))
        told = self._told if sender == self._asked else self._known_to.get(sender, {})
        if sender == self._asked:
            self._asked = None
        if body.count:
            self._known_to.pop(sender, None)
            self._larger.pop(sender, None)
            self._gave = sender
            return ()
        self._known_to[sender] = told
        if body.larger:
            self._larger[sender] = None
        if sender == self._gave:
            self._gave = None
        return self._ask_victim()

    def _give(self, thief: NodeID, room: dict[str, int]) -> Sequence[Decision]:
        if not self.members.lives(thief):
            return ()
        loot: list[Task] = []
        half, larger = (len(self._backlog.tasks) + 1) // 2, False
        wanted, free = dict(self._backlog.asked), self.view.free
        for task in reversed(self._backlog.tasks.values()):  # what would have waited longest
            if len(loot) == half:
                break
            if not lacks(task, wanted, free) or not self._may_go(
                task, thief
            ):  # it is about to begin here, or stays
                continue
            if not fits(task, room):
                larger = True
                continue
            loot.append(task)
            for name, amount in task.demand:
                wanted[name] -= amount
        if not loot:
            self._hungry[thief] = room
            return (Tell(thief, Loot(0, larger)),)
        for task in loot:
            self._backlog.remove(task.id)
        return (Tell(thief, Loot(len(loot))), *(Forward(task.id, thief) for task in reversed(loot)))

    # ------------------------------------------------------------ as a thief

    def _ask_victim(self) -> Sequence[Decision]:
        """Idle: ask one after the other, until one gives or enough know."""
        if self._asked is not None:
            return ()
        room = self._room()
        if not room:
            return ()
        self._asked = self._victim(room)
        if self._asked is None:
            return ()
        self._told = room
        self._larger.pop(self._asked, None)
        return (Tell(self._asked, Steal(tuple(room.items()))),)

    def _room(self) -> dict[str, int]:
        """What is free here beyond what waits, but for the node's own name, which everybody has to himself."""
        wanted = self._backlog.asked
        spare = {name: amount - wanted.get(name, 0) for name, amount in self.view.free.items()}
        return {name: amount for name, amount in spare.items() if amount > 0 and not name.startswith("node:")}

    def _victim(self, room: dict[str, int]) -> NodeID | None:
        if self._gave is not None:
            return self._gave  # it may have more: 10,000 tasks of 10 ms on 100 x 16 cores took 0.5 s, not 5.4
        if len(self._known_to) < min(LIFELINES, len(self._others)):
            victims = [place for place in self._others if place not in self._known_to]
            first = self._policy.victim == "ring"
            return victims[0 if first else int(self._rng.random() * len(victims))]
        return next((place for place in self._larger if exceeds(room, self._known_to[place])), None)

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        """It has nothing to steal, and asks for itself."""
        if node.place == self.place:
            return self._ask_victim()
        if not self.members.knows(node.place):
            self.members.join(node)
            self._others.append(node.place)
        return ()

    def node_lost(self, place: NodeID) -> Sequence[Decision]:
        self.members.lose(place)
        self._others = [other for other in self._others if other != place]
        self._known_to.pop(place, None)
        self._larger.pop(place, None)
        self._hungry.pop(place, None)
        self._asked = None if self._asked == place else self._asked
        self._gave = None if self._gave == place else self._gave
        return self._ask_victim()


def lacks(task: Task, wanted: Mapping[str, int], free: Mapping[str, int]) -> bool:
    """Whether of something that it asks for more is wanted than is free."""
    return any(wanted.get(name, 0) > free.get(name, 0) for name, _ in task.demand)


def exceeds(room: Mapping[str, int], then: Mapping[str, int]) -> bool:
    """Whether there is more of anything than there was then."""
    return any(amount > then.get(name, 0) for name, amount in room.items())


def fits(task: Task, room: Mapping[str, int]) -> bool:
    """Whether there is room for it."""
    return all(room.get(name, 0) >= amount for name, amount in task.demand)
