"""Centralized: every task goes to the head, which knows exactly who has room.

One queue in order of arrival, but what a blocked task waits for goes first; each task to the first node with room
(Spark-like; the M/M/c case). A node holds no more than it can run at once (and what was overtaken too often), so the
head hears of every end before it sends the next: what that costs per task, and when the head saturates, is what the
policy is here to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from labray.ids import NodeID, TaskID
from labray.messages import Demand
from labray.schedulers.parts.node_accounts import ROOM_EVENTS, NodeAccount, RoomReport, ShapeQueue, send
from labray.scheduling import (
    OVERTAKEN,
    Agent,
    ClusterInfo,
    Decision,
    Fact,
    Forward,
    HeadBack,
    Keep,
    NodeInfo,
    Policy,
    PolicyAgent,
    Task,
    Tell,
    View,
)
from labray.strategies import Spread, Strategy

if TYPE_CHECKING:
    from random import Random


class Centralized(Policy, frozen=True):
    """The head alone decides, from exact bookkeeping. A blocked task's CPU is lent on."""

    words: ClassVar[tuple[type[Struct], ...]] = (RoomReport,)
    interest: ClassVar[tuple[type[Fact], ...]] = (*ROOM_EVENTS, HeadBack)

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        return CentralizedHead(cluster, view) if place == cluster.head else CentralizedNode(cluster, view)


# ---------------------------------------------------------------- at a node


class CentralizedNode(PolicyAgent):
    """Passes on what is submitted here, keeps what the head sends, and says when room came back."""

    def __init__(self, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._expected: dict[str, int] = dict(view.free)  # what the head must believe is free here
        self._settled: list[TaskID] = []  # begun since the last word: no longer under way, but in `free`

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        return (Keep(task.id),) if task.hops else (Forward(task.id, self.head),)

    def task_started(self, task: Task) -> Sequence[Decision]:
        if task.demand:  # others the head does not count
            self._settled.append(task.id)
            for name, amount in task.demand:
                self._expected[name] -= amount
        return () if self.view.free == self._expected else (self.word(),)

    def task_finished(self, task: Task, seconds: float) -> Sequence[Decision]:
        return () if self.view.free == self._expected else (self.word(),)

    def task_withdrawn(self, task: Task) -> Sequence[Decision]:
        """The head counts it as under way, and nothing else would ever tell it otherwise."""
        if not task.demand or not task.hops:
            return ()
        self._settled.append(task.id)
        return (self.word(),)

    def task_blocked(self, task: Task) -> Sequence[Decision]:
        return self.news()

    def task_unblocked(self, task: Task) -> Sequence[Decision]:
        return self.news()

    def room_changed(self) -> Sequence[Decision]:
        return self.news()

    def head_back(self) -> Sequence[Decision]:
        """It takes everybody for idle."""
        self._settled.clear()
        return (self.word(),)

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        """Nothing that waits here could go there: the head sends no more than can run at once."""
        return ()

    def node_lost(self, place: NodeID) -> Sequence[Decision]:
        return ()

    def news(self) -> Sequence[Decision]:
        """The head is told what it cannot know."""
        return () if self.view.free == self._expected else (self.word(),)

    def word(self) -> Tell:
        """What is free here, and what has begun since the last word."""
        free = self.view.free
        self._expected = dict(free)
        word = RoomReport(tuple(free.items()), tuple(self._settled))
        self._settled.clear()
        return Tell(self.head, word)


# ---------------------------------------------------------------- at the head


class CentralizedHead(PolicyAgent):
    """One queue. Shapes are lines of their own, so that a request nobody has room for holds up no other."""

    def __init__(self, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._accounts = {node.place: NodeAccount(node) for node in cluster.nodes}
        self._lines: dict[tuple[Demand, Strategy], ShapeQueue] = {}
        self._through: dict[NodeID, list[tuple[Demand, ShapeQueue]]] = {}  # the lines that pass by a node
        self._arrivals = self._wants = 0

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        line = self._line(task)
        account = None if line.waiting else line.find(task.demand)
        if account is not None:
            return (send(task, account), *self._overtake(line, account, self._arrivals + 1))
        self._arrivals += 1
        line.waiting[task.id] = (self._arrivals, task)
        return ()

    def task_withdrawn(self, task: Task) -> Sequence[Decision]:
        self._line(task).waiting.pop(task.id, None)
        return ()

    def task_wanted(self, task: Task) -> Sequence[Decision]:
        self._wants -= 1
        self._line(task).want(task, self._wants)
        return ()

    def message_received(self, sender: NodeID, body: RoomReport) -> Sequence[Decision]:
        account = self._accounts.get(sender)
        if account is None:
            return ()
        account.update(body)
        for _, line in self._through.get(sender, ()):
            line.came_free(sender)
        return self._fill(account)

    def _fill(self, account: NodeAccount) -> list[Decision]:
        """Send a node what it has room for."""
        decisions: list[Decision] = []
        while (line := self._next(account)) is not None:
            _, (number, task) = line.waiting.popitem(last=False)
            line.overtaken = 0
            decisions += (send(task, account), *self._overtake(line, account, number))
        return decisions

    def _overtake(self, line: ShapeQueue, account: NodeAccount, number: int) -> list[Decision]:
        """One of this line goes to a node that older ones could run too. Whom that happens to too often goes there none
        the less, and waits there: only the node knows whether what it lacks will come free, and keeps room for it.
        """
        decisions: list[Decision] = []
        for _, other in self._through[account.place]:
            if other is not line and other.waiting and other.oldest() < number:
                other.overtaken += 1
                if other.overtaken >= OVERTAKEN:
                    other.overtaken = 0
                    _, (_, task) = other.waiting.popitem(last=False)
                    decisions.append(Forward(task.id, account.place))
        return decisions

    def _next(self, account: NodeAccount) -> ShapeQueue | None:
        """The line with the oldest waiting task that this node has room for."""
        best: ShapeQueue | None = None
        for demand, line in self._through.get(account.place, ()):
            if line.waiting and account.has(demand):
                if best is None or line.oldest() < best.oldest():
                    best = line
        return best

    def _line(self, task: Task) -> ShapeQueue:
        shape = (task.demand, task.strategy)
        line = self._lines.get(shape)
        if line is None:
            accounts = [self._accounts[place] for place in self.members.feasible(task)]
            line = self._lines[shape] = ShapeQueue(accounts, spread=type(task.strategy) is Spread)
            self._lay(task.demand, line)
        return line

    def _lay(self, demand: Demand, line: ShapeQueue) -> None:
        for place in line.position:
            self._through.setdefault(place, []).append((demand, line))

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        """Every line is made anew when it is next needed; what waits in them arrives again by itself."""
        if node.place not in self._accounts:
            self._accounts[node.place] = NodeAccount(node)
            self._lines.clear()
            self._through.clear()
        return super().node_joined(node)

    def node_lost(self, place: NodeID) -> Sequence[Decision]:
        """The lines are made anew. What would rather have run there may now go anywhere, and somebody may have room."""
        super().node_lost(place)
        if self._accounts.pop(place, None) is None:
            return ()
        waiting = {shape: line.waiting for shape, line in self._lines.items() if line.waiting}
        self._lines.clear()
        self._through.clear()
        for tasks in waiting.values():
            _, task = next(iter(tasks.values()))
            self._line(task).waiting = tasks
        decisions: list[Decision] = []
        for account in self._accounts.values():
            decisions += self._fill(account)
        return decisions
