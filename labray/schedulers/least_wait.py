"""The head's half of bottom-up scheduling: a task goes where its estimated wait is least.

The wait is the node's queue length x mean task time + remote input bytes / mean bandwidth (OSDI'18, section
4.2.2), all from heartbeats, plus what the head itself has sent since. As in the paper, a node's capacity does not weigh
in beyond its idle cores: with unequal nodes that is a known weakness, and worth seeing.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from msgspec import Struct

from labray.ids import Place, TaskID
from labray.messages import UNIT
from labray.schedulers.interface import (
    Cluster,
    Decision,
    Event,
    Forward,
    MessageReceived,
    NodeInfo,
    NodeJoined,
    NodeLost,
    Task,
    TaskArrived,
    TaskWithdrawn,
)
from labray.schedulers.roster import Roster

FIRST_TASK_S = 1e-3
FIRST_BANDWIDTH = 1e9
"""What the head assumes, in seconds and bytes/s, until the first heartbeat that has measured it."""


class Load(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A heartbeat. received: tasks that ever came from the head. seconds, bandwidth: 0.0 if not known yet."""

    waiting: int
    idle: int
    received: int
    seconds: float
    bandwidth: float


class Average:
    """Exponentially weighted; the first sample counts in full. value is None until then."""

    __slots__ = ("alpha", "value")

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.value: float | None = None

    def add(self, sample: float) -> None:
        self.value = sample if self.value is None else self.value + self.alpha * (sample - self.value)


class Peer:
    """A node as the head knows it: its last heartbeat, and what was sent there since."""

    __slots__ = ("actors", "idle", "index", "place", "received", "sent", "waiting")

    def __init__(self, index: int, node: NodeInfo) -> None:
        self.index = index
        self.place = node.place
        self.waiting = 0
        self.idle = dict(node.totals).get("CPU", 0) // UNIT
        self.received = 0
        self.sent = 0
        self.actors = 0

    def queue(self) -> int:
        """How many tasks a new one would wait for; below zero: so many cores are idle."""
        return self.waiting - self.idle + self.sent - self.received


class Chooser:
    """Places what nodes passed on where the estimated wait is least. Ties: shorter queue, earlier node."""

    def __init__(self, alpha: float, cluster: Cluster) -> None:
        self._roster = Roster(cluster)
        self._peers = {node.place: Peer(i, node) for i, node in enumerate(cluster.nodes)}
        self._by_index = list(self._peers.values())
        self._heap: list[
            tuple[int, int]
        ] = []  # (queue, index); an entry whose queue is not the peer's is old
        self._rebuild()
        self._seconds = Average(alpha)
        self._bandwidth = Average(alpha)
        self._turn = 0
        self.stuck: dict[TaskID, Task] = {}  # no node could ever run these

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        if isinstance(event, TaskArrived):
            return self._arrived(event.task)
        if isinstance(event, MessageReceived):
            self._heard(event.sender, event.body)
        elif isinstance(event, TaskWithdrawn):
            self.stuck.pop(event.task.id, None)
        elif isinstance(event, NodeLost):
            self._roster.lose(event.place)
            self._peers.pop(event.place, None)
            self._rebuild()
        elif isinstance(event, NodeJoined) and event.node.place not in self._peers:
            self._joined(event.node)
        return ()

    def _joined(self, node: NodeInfo) -> None:
        self._roster.join(node)
        peer = self._peers[node.place] = Peer(len(self._by_index), node)
        self._by_index.append(peer)
        self._rebuild()

    def _arrived(self, task: Task) -> Sequence[Decision]:
        feasible = self._roster.feasible(task)
        if not feasible:
            self.stuck[task.id] = task
            return ()
        peer = self._choose(task, feasible)
        peer.sent += 1
        peer.actors += task.kind == "actor"
        self._push(peer)
        return (Forward(task.id, peer.place),)

    def _choose(self, task: Task, feasible: tuple[Place, ...]) -> Peer:
        if task.strategy == "SPREAD":
            self._turn += 1
            return self._peers[feasible[(self._turn - 1) % len(feasible)]]
        if task.kind == "actor":
            peers = [self._peers[place] for place in feasible]
            return min(peers, key=lambda peer: (peer.actors, peer.queue(), peer.index))
        if len(feasible) < len(self._peers):
            return self._least([self._peers[place] for place in feasible], task)
        if not task.deps:
            return self._shortest()
        # Of the nodes that hold none of its inputs, the one with the shortest queue is the best.
        holders = [self._peers[at] for dep in task.deps for at in dep.places if at in self._peers]
        return self._least([self._shortest(), *holders], task)

    def _least(self, peers: list[Peer], task: Task) -> Peer:
        seconds = self._seconds.value or FIRST_TASK_S
        bandwidth = self._bandwidth.value or FIRST_BANDWIDTH

        def key(peer: Peer) -> tuple[float, int, int]:
            queue = peer.queue()
            return max(queue, 0) * seconds + remote_bytes(task, peer.place) / bandwidth, queue, peer.index

        return min(peers, key=key)

    def _shortest(self) -> Peer:
        while True:
            queue, index = self._heap[0]
            peer = self._by_index[index]
            if peer.queue() == queue and peer.place in self._peers:
                return peer
            heappop(self._heap)

    def _heard(self, sender: Place, load: Load) -> None:
        peer = self._peers.get(sender)
        if peer is None:
            return
        peer.waiting, peer.idle, peer.received = load.waiting, load.idle, load.received
        if load.seconds:
            self._seconds.add(load.seconds)
        if load.bandwidth:
            self._bandwidth.add(load.bandwidth)
        self._push(peer)

    def _push(self, peer: Peer) -> None:
        heappush(self._heap, (peer.queue(), peer.index))
        if len(self._heap) > 4 * len(self._by_index) + 64:
            self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(peer.queue(), peer.index) for peer in self._peers.values()]
        heapify(self._heap)


def remote_bytes(task: Task, place: Place) -> int:
    """What would have to be moved there. Small values travel inside the task and have no place."""
    return sum(dep.size for dep in task.deps if dep.places and place not in dep.places)
