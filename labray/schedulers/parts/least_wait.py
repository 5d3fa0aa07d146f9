"""The head's half of bottom-up scheduling: a task goes where its estimated wait is least.

The wait is what must end first x mean task time + remote input bytes / mean bandwidth (OSDI'18, section 4.2.2), from
heartbeats, plus what the head itself has sent since. Where there is room nothing must end; where there is none, the
queue and one that runs, and a node ends as many at a time as it can run at once. (The paper has the queue alone: then a
full node without one is as good as an idle one.) What a task states as its cost is not learnt but believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush, heapreplace

from labray.ids import NodeID
from labray.messages import Demand
from labray.scheduling import (
    ClusterInfo,
    Decision,
    Forward,
    NodeInfo,
    PolicyAgent,
    PolicyMessage,
    Task,
    View,
    how_many,
)
from labray.strategies import Spread

FIRST_TASK_S = 1e-3
FIRST_BANDWIDTH = 1e9
"""What the head assumes, in seconds and bytes/s, until the first heartbeat that has measured it."""


class Load(PolicyMessage, frozen=True):
    """A heartbeat. free: resource -> amount in 1e-4. received: tasks that ever came from the head.

    seconds, bandwidth: 0.0 if not known yet.
    """

    waiting: int
    free: tuple[tuple[str, int], ...]
    received: int
    seconds: float
    bandwidth: float


class Average:
    """Exponentially weighted; the first sample counts in full. value is None until then."""

    __slots__ = ("alpha", "value")

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.value: float | None = None

    def update(self, sample: float) -> None:
        self.value = sample if self.value is None else self.value + self.alpha * (sample - self.value)


class NodeEstimate:
    """A node as the head knows it: its last heartbeat, and what was sent there since."""

    __slots__ = ("actors", "free", "index", "node", "place", "received", "room", "sent", "slots", "waiting")

    def __init__(self, index: int, node: NodeInfo) -> None:
        self.index = index
        self.node = node
        self.place = node.place
        self.waiting = 0
        self.free: Mapping[str, int] = dict(node.totals)
        self.room: dict[Demand, int] = {}  # how many of a shape fit into `free`
        self.slots: dict[Demand, int] = {}  # and into the whole node
        self.received = 0
        self.sent = 0
        self.actors = 0

    def hear(self, load: Load) -> None:
        self.waiting, self.received = load.waiting, load.received
        self.free = dict(load.free)
        self.room.clear()

    def queue(self, demand: Demand) -> int:
        """How many tasks are before a new one; below zero: so many of its shape could begin at once."""
        room = self.room.get(demand)
        if room is None:
            room = self.room[demand] = how_many(self.free, demand)
        return self.waiting - room + self.sent - self.received

    def wait(self, demand: Demand) -> float:
        """In tasks that must end, one after the other, before a new one begins. Below zero: see queue()."""
        queue = self.queue(demand)
        if queue < 0:
            return queue
        slots = self.slots.get(demand)
        if slots is None:
            slots = self.slots[demand] = max(self.node.slots(demand), 1)
        return (queue + 1) / slots


class BottomUpHead(PolicyAgent):
    """Places what nodes passed on where the estimated wait is least. Ties: more room, shorter wait, earlier node."""

    def __init__(self, alpha: float, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._peers = {node.place: NodeEstimate(i, node) for i, node in enumerate(cluster.nodes)}
        self._by_index = list(self._peers.values())
        self._heaps: dict[Demand, list[tuple[float, int]]] = {}  # by shape: (wait, index), some of them old
        self._seconds = Average(alpha)
        self._bandwidth = Average(alpha)
        self._turn = 0

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        if task.cost is not None:
            self._seconds.update(task.cost)
        feasible = self.members.feasible(task)
        if not feasible:
            return ()
        peer = self._choose(task, feasible)
        peer.sent += 1
        peer.actors += task.kind == "actor"
        return (Forward(task.id, peer.place),)

    def node_lost(self, place: NodeID) -> Sequence[Decision]:
        self._peers.pop(place, None)
        return super().node_lost(place)

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        if node.place not in self._peers:
            peer = self._peers[node.place] = NodeEstimate(len(self._by_index), node)
            self._by_index.append(peer)
            self._push(peer)
        return super().node_joined(node)

    def _choose(self, task: Task, feasible: tuple[NodeID, ...]) -> NodeEstimate:
        if type(task.strategy) is Spread:
            self._turn += 1
            return self._peers[feasible[(self._turn - 1) % len(feasible)]]
        if task.kind == "actor":
            peers = [self._peers[place] for place in feasible]
            return min(peers, key=lambda peer: (peer.actors, peer.queue(task.demand), peer.index))
        if len(feasible) < len(self._peers):
            return self._least([self._peers[place] for place in feasible], task)
        if not task.deps:
            return self._shortest(task.demand)
        # Of the nodes that hold none of its inputs, the one with the shortest wait is the best.
        holders = [self._peers[at] for dep in task.deps for at in dep.places if at in self._peers]
        return self._least([self._shortest(task.demand), *holders], task)

    def _least(self, peers: list[NodeEstimate], task: Task) -> NodeEstimate:
        seconds = self._seconds.value or FIRST_TASK_S
        bandwidth = self._bandwidth.value or FIRST_BANDWIDTH

        def key(peer: NodeEstimate) -> tuple[float, float, int]:
            wait = peer.wait(task.demand)
            moved = remote_bytes(task, peer.place) / bandwidth
            return max(wait, 0.0) * seconds + moved, wait, peer.index

        return min(peers, key=key)

    def _shortest(self, demand: Demand) -> NodeEstimate:
        """An entry that is less than the node's wait is put right here; one that is more has a newer one before it."""
        heap = self._heaps.get(demand)
        if heap is None:
            heap = self._heaps[demand] = [(peer.wait(demand), peer.index) for peer in self._peers.values()]
            heapify(heap)
        while True:
            wait, index = heap[0]
            peer = self._by_index[index]
            if peer.place not in self._peers:
                heappop(heap)
            elif (now := peer.wait(demand)) == wait:
                return peer
            else:
                heapreplace(heap, (now, index))

    def message_received(self, sender: NodeID, body: Load) -> Sequence[Decision]:
        peer = self._peers.get(sender)
        if peer is not None:
            peer.hear(body)
            if body.seconds:
                self._seconds.update(body.seconds)
            if body.bandwidth:
                self._bandwidth.update(body.bandwidth)
            self._push(peer)
        return ()

    def _push(self, peer: NodeEstimate) -> None:
        """Into every heap. One that nobody has asked for long would grow with every heartbeat: it is made anew then."""
        most = 4 * len(self._by_index) + 64
        for demand, heap in list(self._heaps.items()):
            if len(heap) < most:
                heappush(heap, (peer.wait(demand), peer.index))
            else:
                del self._heaps[demand]


def remote_bytes(task: Task, place: NodeID) -> int:
    """What would have to be moved there. Small values travel inside the task and have no place."""
    return sum(dep.size for dep in task.deps if dep.places and place not in dep.places)
