"""Checked: any policy, with every decision of its agents judged from the agent's side.

A node judges decisions too, and must. This wrapper knows nothing of nodes: it follows the events that its agent
was told, and so tells a policy that breaks the rules from a node that keeps them wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from labray.errors import SchedulerError
from labray.ids import NodeID, TaskID
from labray.scheduling import (
    Agent,
    ClusterInfo,
    Decision,
    Event,
    Fact,
    Forward,
    Keep,
    NodeJoined,
    NodeLost,
    Scheduler,
    Task,
    TaskArrived,
    TaskFinished,
    TaskStarted,
    TaskWithdrawn,
    Tell,
    View,
    Wake,
)

if TYPE_CHECKING:
    from random import Random

FOLLOWED: tuple[type[Fact], ...] = (TaskStarted, TaskFinished, TaskWithdrawn, NodeJoined, NodeLost)


class Checked(Struct, frozen=True):
    """Around a policy: raises SchedulerError, naming it, at the first decision that is not its to make."""

    inner: Scheduler

    @property
    def words(self) -> tuple[type[Struct], ...]:
        return self.inner.words

    @property
    def interest(self) -> tuple[type[Fact], ...]:
        return tuple(dict.fromkeys((*self.inner.interest, *FOLLOWED)))

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: Random) -> Agent:
        return CheckedAgent(self.inner, place, cluster, view, self.inner.agent(place, cluster, view, rng))


class CheckedAgent:
    """Follows which tasks are the agent's to decide: those held, and those kept that have not started."""

    def __init__(
        self, policy: Scheduler, place: NodeID, cluster: ClusterInfo, view: View, agent: Agent
    ) -> None:
        self._policy = policy
        self._place = place
        self._view = view
        self._agent = agent
        self._wants = {TaskArrived, *policy.interest}
        self._others = {cluster.head, *(node.place for node in cluster.nodes)} - {place}
        self._own = next((node for node in cluster.nodes if node.place == place), None)
        self._held: dict[TaskID, Task] = {}
        self._kept: dict[TaskID, Task] = {}

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        self._follow(event)
        if type(event) not in self._wants:
            return ()
        decisions: Any = self._agent.handle(event, now)
        if decisions is None:
            raise self._breach(
                "handle() gave None; it returns a sequence of decisions, () where there are none"
            )
        for decision in decisions:
            self._judge(decision)
        return decisions  # type: ignore[no-any-return]

    def _follow(self, event: Event) -> None:
        if isinstance(event, TaskArrived):
            if event.task.id in self._held:
                raise self._breach(f"was told twice of {event.task.id}, which it holds: the node is wrong")
            self._held[event.task.id] = event.task
        elif isinstance(event, (TaskStarted, TaskFinished, TaskWithdrawn)):
            self._held.pop(event.task.id, None)
            self._kept.pop(event.task.id, None)
        elif isinstance(event, NodeJoined) and event.node.place != self._place:
            self._others.add(event.node.place)
        elif isinstance(event, NodeLost):
            self._others.discard(event.place)

    def _judge(self, decision: Decision) -> None:
        if isinstance(decision, Keep):
            self._judge_keep(decision)
        elif isinstance(decision, Forward):
            self._judge_target(decision, decision.to)
            self._take(decision, decision.task)
        elif isinstance(decision, Tell):
            self._judge_target(decision, decision.to)
            if type(decision.body) not in self._policy.words:
                allowed = ", ".join(word.__name__ for word in self._policy.words) or "nothing"
                raise self._breach(f"{decision}: the policy's words are {allowed}")
        elif not isinstance(decision, Wake):
            raise self._breach(f"{decision!r} is no decision; Keep, Forward, Tell and Wake are")
        elif not (isfinite(decision.after) and decision.after >= 0):
            raise self._breach(f"{decision}: a time ahead is finite and not negative")

    def _judge_keep(self, decision: Keep) -> None:
        task = self._held.get(decision.task)
        if task is None:
            raise self._breach(f"{decision}: {self._why(decision.task)}")
        if self._own is None or not self._own.fits(task.demand):
            raise self._breach(f"{decision}: it asks for {task.demand}, and this place never has that much")
        if not isfinite(decision.priority):
            raise self._breach(f"{decision}: a priority is a finite number")
        self._kept[decision.task] = self._held.pop(decision.task)

    def _judge_target(self, decision: Forward | Tell, to: NodeID) -> None:
        if to not in self._others:
            others = ", ".join(sorted(self._others))
            raise self._breach(f"{decision}: {to} is no other living place; there are {others or 'none'}")

    def _take(self, decision: Forward, task: TaskID) -> None:
        if task in self._held:
            del self._held[task]
        elif task in self._kept:
            del self._kept[task]
        elif not any(waiting.id == task for waiting in self._view.queued):  # a recalled one is again
            raise self._breach(f"{decision}: {self._why(task)}")

    def _why(self, task: TaskID) -> str:
        if task in self._kept:
            return f"{task} is kept already"
        return f"{task} never arrived here, was passed on, has started or was withdrawn"

    def _breach(self, what: str) -> SchedulerError:
        return SchedulerError(f"{self._policy!r} at {self._place}: {what}.")
