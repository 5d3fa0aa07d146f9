"""The agent of a node, at arm's length: events go in, decisions come out and are judged here.

A breach (a task that is not the agent's to decide, a node that could never run it, an unknown place) raises
SchedulerError, which names the policy. It is the same check in both worlds.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from labray.errors import SchedulerError
from labray.ids import HEAD, NodeID, TaskID
from labray.messages import AgentMessage, Demand, SetAlarm
from labray.node.context.agent_feed import AgentFeed
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import FORWARDABLE, State, TaskRecord
from labray.node.objects.directory import ObjectTable
from labray.node.workers.ready_queue import Queued, ReadyQueue
from labray.node.workers.resources import Resources
from labray.scheduling import (
    Decision,
    Forward,
    HeadBack,
    HeadLost,
    Keep,
    MessageReceived,
    NodeInfo,
    NodeJoined,
    NodeLost,
    Scheduler,
    TaskArrived,
    TaskWithdrawn,
    Tell,
    Wake,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from labray.ids import ObjectID


class LocalView:
    """What is true at this place: the View that its agent gets."""

    def __init__(self, place: NodeID, resources: Resources, queue: ReadyQueue, objects: ObjectTable) -> None:
        self.place = place
        self.free: Mapping[str, int] = resources.free
        self.queued = Queued(queue)
        self._objects = objects

    def holds(self, object_id: ObjectID) -> int | None:
        record = self._objects.records.get(object_id)
        kept = record.kept if record is not None else None
        return kept.size if kept is not None else None


class DecisionSink(Protocol):
    """What carries out a decision that was found legal."""

    tasks: dict[TaskID, TaskRecord]

    def keep(self, task: TaskRecord, priority: float) -> None: ...

    def forward(self, task: TaskRecord, to: NodeID) -> None: ...


class PolicyHost:
    """The agent of one place."""

    def __init__(
        self,
        context: NodeContext,
        feed: AgentFeed,
        scheduler: Scheduler,
        view: LocalView,
        rng: Random,
        sink: DecisionSink,
    ) -> None:
        self.context = context
        self.feed = feed
        self.policy = feed.policy
        self.sink = sink
        self.agent = scheduler.agent(context.place, context.cluster, view, rng)
        self.encoder = msgspec.msgpack.Encoder()
        self.decoder = msgspec.msgpack.Decoder(reduce(or_, scheduler.words)) if scheduler.words else None
        self.shapes_here: dict[Demand, bool] = {}
        self.withdrawn = feed.withdrawn

    def tell_node_lost(self, place: NodeID) -> None:
        """One place less that tasks can be sent to: what only it could run, none can now."""
        self.feed.shapes.clear()
        self.context.tell_agent(HeadLost() if place == HEAD else NodeLost(place))

    def _fits_here(self, demand: Demand) -> bool:
        """Whether this node could ever run this."""
        answer = self.shapes_here.get(demand)
        if answer is None:
            here = self.context.cluster.places.get(self.context.place)
            answer = self.shapes_here[demand] = here is not None and here.fits(demand)
        return answer

    def tell_node_joined(self, info: NodeInfo) -> None:
        """One more place that tasks can be sent to."""
        self.context.cluster = self.context.cluster.joined(info)
        self.feed.shapes.clear()
        self.shapes_here.clear()
        self.context.tell_agent(NodeJoined(info))
        self._decide_anew()

    def head_back(self) -> None:
        """What waited here for the head can go there."""
        self.context.tell_agent(HeadBack())
        self._decide_anew()

    def _decide_anew(self) -> None:
        """What the agent holds is withdrawn from it and arrives again."""
        self.decide()
        for task in list(self.sink.tasks.values()):
            if task.state is State.UNDECIDED and task.fact is not None:
                self.context.events.append(TaskWithdrawn(task.fact))
                self.context.events.append(TaskArrived(task.fact))
                self.decide()

    def hear(self, sender: NodeID, message: AgentMessage) -> None:
        if self.decoder is None:
            raise SchedulerError(f"{self.policy} names no words, but its agent at {sender} told something.")
        if MessageReceived in self.context.interest:
            self.context.events.append(MessageReceived(sender, self.decoder.decode(message.body)))

    def decide(self) -> None:
        """Let the agent see what happened, until nothing new follows from its decisions."""
        events = self.context.events
        while events:
            event = events.popleft()
            decisions: Any = self.agent.handle(event, self.context.now)
            if decisions is None:
                raise self._breach(
                    None, "and handle() returns a sequence of decisions: () where there are none"
                )
            for decision in decisions:
                if type(decision) is Keep:
                    self._judge_keep(decision)
                else:
                    self._judge(decision)
            if type(event) is TaskWithdrawn:
                self.withdrawn.pop(event.task.id, None)

    def _judge(self, decision: Decision) -> None:
        kind = type(decision)
        if kind is Forward:
            self._judge_forward(decision)  # type: ignore[arg-type]
        elif kind is Tell:
            self._judge_tell(decision)  # type: ignore[arg-type]
        elif kind is Wake:
            self.context.do(SetAlarm(decision.after, 2 * decision.token + 1))  # type: ignore[union-attr]
        else:
            raise self._breach(decision, "is no decision: Keep, Forward, Tell or Wake")

    def _judge_keep(self, decision: Keep) -> None:
        task = self.sink.tasks.get(decision.task)
        if self.withdrawn and decision.task in self.withdrawn:
            return
        if task is None or task.state is not State.UNDECIDED:
            raise self._breach(decision, f"but {self._state(task)}; only a held task can be kept")
        if not (self.shapes_here.get(task.spec.demand) or self._fits_here(task.spec.demand)):
            raise self._breach(decision, f"but {self.context.place} could never run {task.spec.demand}")
        self.sink.keep(task, decision.priority)

    def _judge_forward(self, decision: Forward) -> None:
        task = self.sink.tasks.get(decision.task)
        if decision.task in self.withdrawn:
            return
        if task is None or task.state not in FORWARDABLE:
            raise self._breach(
                decision, f"but {self._state(task)}; only what has not started can be forwarded"
            )
        to = decision.to
        if to == self.context.place or (to not in self.context.cluster.places and to != HEAD):
            raise self._breach(decision, f"but {to!r} is not another place of this cluster")
        if to == HEAD and HEAD in self.context.dead:
            return  # the task stays where it is, and if it is still held it arrives anew when there is a head
        self.sink.forward(task, to)

    def _judge_tell(self, decision: Tell) -> None:
        to = decision.to
        if (
            self.decoder is None
            or to == self.context.place
            or (to not in self.context.cluster.places and to != HEAD)
        ):
            raise self._breach(decision, "needs `words` in the policy and another place to tell")
        if to not in self.context.dead:
            self.context.send(to, AgentMessage(self.encoder.encode(decision.body)))

    def _state(self, task: TaskRecord | None) -> str:
        return "that task is not here" if task is None else f"it is {task.state.name}"

    def _breach(self, decision: Any, why: str) -> SchedulerError:
        return SchedulerError(f"{self.policy} at {self.context.place} decided {decision!r}, {why}.")
