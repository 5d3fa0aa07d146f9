"""BLevel: a dynamic list at the head, the highest b-level first (ready_list.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from msgspec import Struct

from labray.ids import NodeID
from labray.schedulers.online.centralized import CentralizedNode
from labray.schedulers.parts.batching import BatchingHead
from labray.schedulers.parts.node_accounts import ROOM_EVENTS, NodeAccount, RoomReport, send
from labray.schedulers.parts.ready_list import Waiting
from labray.schedulers.parts.transfers import Transfers
from labray.schedulers.planned.plans import Workload
from labray.schedulers.planned.static import NOTHING
from labray.scheduling import (
    Agent,
    ClusterInfo,
    Decision,
    Fact,
    NodeInfo,
    Policy,
    Task,
    TimerFired,
    View,
)

if TYPE_CHECKING:
    from random import Random


class BLevel(Policy, frozen=True, repr_omit_defaults=True):
    """The head sends the ready task of highest b-level to a node with room, until none has room.

    worker_choice: which of them. `greedy_transfer`: the one to which the fewest bytes must be moved; `first`: the
    first (HLFET as a dynamic policy). What becomes ready at one instant is decided on together.
    """

    work: Workload = NOTHING
    worker_choice: Literal["greedy_transfer", "first"] = "greedy_transfer"

    words: ClassVar[tuple[type[Struct], ...]] = (RoomReport,)
    interest: ClassVar[tuple[type[Fact], ...]] = (*ROOM_EVENTS, TimerFired)

    def __post_init__(self) -> None:
        if self.worker_choice not in ("greedy_transfer", "first"):
            raise ValueError(f"worker_choice={self.worker_choice!r}: it is 'greedy_transfer' or 'first'.")

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        return BLevelHead(self, cluster, view) if place == cluster.head else CentralizedNode(cluster, view)


class BLevelHead(BatchingHead):
    """At the head: who has room, what waits, and where inputs have been sent for."""

    def __init__(self, policy: BLevel, cluster: ClusterInfo, view: View) -> None:
        super().__init__(cluster, view)
        self._choose = self._least_moved if policy.worker_choice == "greedy_transfer" else self._first
        self._accounts = {node.place: NodeAccount(node) for node in cluster.nodes}
        self._waiting = Waiting(policy.work)
        self._transfers = Transfers()

    def task_arrived(self, task: Task) -> Sequence[Decision]:
        self._waiting.insert(task)
        return ()

    def task_wanted(self, task: Task) -> Sequence[Decision]:
        self._waiting.want(task)
        return ()

    def task_withdrawn(self, task: Task) -> Sequence[Decision]:
        self._waiting.discard(task.id)
        return ()

    def message_received(self, sender: NodeID, body: RoomReport) -> Sequence[Decision]:
        account = self._accounts.get(sender)
        if account is not None:
            account.update(body)
        return ()

    def node_lost(self, place: NodeID) -> Sequence[Decision]:
        self._accounts.pop(place, None)
        return super().node_lost(place)

    def node_joined(self, node: NodeInfo) -> Sequence[Decision]:
        self._accounts.setdefault(node.place, NodeAccount(node))
        return super().node_joined(node)

    def undecided(self) -> bool:
        return len(self._waiting) > 0

    def decide(self) -> Sequence[Decision]:
        decisions: list[Decision] = []

        def place(task: Task) -> bool:
            accounts = [self._accounts[place] for place in self.members.feasible(task)]
            accounts = [account for account in accounts if account.has(task.demand)]
            if not accounts:
                return False
            account = self._choose(task, accounts)
            self._transfers.remember(task, account.place)
            decisions.append(send(task, account))
            return True

        self._waiting.place_ready(place)
        return decisions

    def _first(self, task: Task, accounts: list[NodeAccount]) -> NodeAccount:
        return accounts[0]

    def _least_moved(self, task: Task, accounts: list[NodeAccount]) -> NodeAccount:
        if not any(dep.places for dep in task.deps):
            return accounts[0]
        return min(accounts, key=lambda account: self._transfers.needed(task, account.place))
