"""A run is Wrong where a result breaks its promise, where its trace breaks a rule, and where something is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import Any

import labray as ray
from labray import errors
from labray.fuzz import remote
from labray.fuzz.expected_results import Promise, kind_of
from labray.fuzz.program import Step
from labray.ids import HEAD
from labray.trace import Event

NOTHING: Mapping[str, float] = MappingProxyType({})


class Wrong(Exception):
    """The run did what it must not do."""


def judge_value(number: int, promise: Promise, value: int) -> None:
    if promise.fails:
        raise Wrong(f"step {number} must fail, and is {value}")
    if promise.value is not None and value != promise.value:
        raise Wrong(f"step {number} must be {promise.value}, and is {value}")


def judge_error(number: int, promise: Promise, error: errors.LabrayError) -> None:
    if isinstance(error, errors.SessionError):
        raise error
    if isinstance(error, errors.LabraySystemError):
        raise Wrong(f"{type(error).__name__}: {error}") from error
    kind = kind_of(error)
    if kind not in promise.may:
        allowed = "a value" if not promise.may else f"a value, or {', '.join(sorted(promise.may))},"
        raise Wrong(f"step {number} must be {allowed} and failed: {kind}: {error}") from error


def judge_carried(step: Step, error: errors.LabrayError) -> None:
    """Judge the cause and the refs of an error. What such a ref names may fail or be lost, but not be freed."""
    if step.how == "cause" and kind_of(error) == "asked" and not isinstance(error.__cause__, KeyError):
        raise Wrong(f"step {step.number}: its error has lost its cause: {error}")
    for ref in error.refs if isinstance(error, remote.CarrierError) else ():
        try:
            ray.get(ref)
        except errors.ObjectLostError as lost:
            if "was freed" in str(lost):
                raise Wrong(f"step {step.number}: a ref in its error: {lost}") from lost
        except errors.SessionError:
            raise
        except errors.LabrayError:
            continue  # what it refers to has failed, as the program says


# ---------------------------------------------------------------- the trace


def judge_trace(
    events: Sequence[Event], cancelled: Mapping[str, float] = NOTHING, asleep: Mapping[str, float] = NOTHING
) -> None:
    """Each attempt runs and ends once; what failed stays so; a task is retried as often as it may be.

    cancelled: tasks, and when: from then on they are not retried at all, unless they had ended already. asleep: those
    that a cancel must have woken, and by when.
    """
    heads = sum((kind, place, subject) == ("lost", "n0", HEAD) for _, kind, place, subject, _ in events)
    judge = TraceJudge(heads, cancelled, asleep)
    for judge.now, kind, _, subject, detail in events:
        look = getattr(judge, kind, None)
        if look is not None:
            look(subject, detail)


RETRIES = {"use": 0, "meet": 0, "fail": 0}
"""How often a task may be retried whose name does not say so; all others are retried without end."""


class TraceJudge:
    """Follows the tasks of a run. most: how often each may be retried. begun: whose current attempt was dispatched.

    heads: how many were lost; what one held is submitted anew and uses up no retry.
    """

    def __init__(self, heads: int, cancelled: Mapping[str, float], asleep: Mapping[str, float]) -> None:
        self.now = 0.0
        self._heads = heads
        self._cancelled = cancelled
        self._asleep = asleep
        self._values: set[str] = set()
        self._most: dict[str, int] = {}
        self._attempts: dict[str, int] = {}
        self._begun: set[str] = set()
        self._ran: set[tuple[str, int]] = set()
        self._ended: set[tuple[str, int]] = set()
        self._failed: set[str] = set()

    def submitted(self, task: str, detail: Any) -> None:
        name, kind = detail[:2]
        if task in self._attempts:
            raise Wrong(f"{task} was submitted twice")
        self._attempts[task] = 0
        if kind == "task":
            plain, _, retries = name.rpartition(" r")
            self._most[task] = int(retries) if plain else RETRIES.get(name, -1)

    def dispatched(self, task: str, worker: str) -> None:
        self._begun.add(task)

    def recalled(self, task: str, worker: str) -> None:
        self._begun.discard(task)

    def ran(self, task: str, detail: Any) -> None:
        worker, attempt = detail[:2]
        if (task, attempt) in self._ran:
            raise Wrong(f"attempt {attempt} of {task} ran twice, the second time in {worker}")
        self._ran.add((task, attempt))

    def retried(self, task: str, attempt: int) -> None:
        if task in self._failed:
            raise Wrong(f"{task} was retried after it had failed")
        most = self._most.get(task, -1)
        if attempt != self._attempts[task] + 1 or 0 <= most < attempt - (self._heads if most else 0):
            raise Wrong(f"{task}, which may be retried {self._most.get(task)} times, is in attempt {attempt}")
        if self.now > self._cancelled.get(task, inf) and task not in self._values:
            raise Wrong(f"{task} was retried after it had been cancelled")
        self._attempts[task] = attempt
        self._begun.discard(task)

    def finished(self, task: str, attempt: int) -> None:
        self._once(task, f"finished {attempt}")
        if (task, attempt) in self._ended:
            raise Wrong(f"attempt {attempt} of {task} ended twice")
        if self.now > self._asleep.get(task, inf):
            raise Wrong(f"{task} was cancelled and slept on")
        if (task, attempt) not in self._ran:
            raise Wrong(f"attempt {attempt} of {task} has values, and never ran")
        self._ended.add((task, attempt))
        self._values.add(task)

    def failed(self, task: str, kind: str) -> None:
        self._once(task, f"failed {kind}")
        self._failed.add(task)
        most, attempt = self._most.get(task, 0), self._attempts[task]
        if kind == "worker_crashed" and task in self._begun and (most < 0 or attempt < most):
            raise Wrong(f"{task} failed in attempt {attempt}, and may be retried {most} times")

    def _once(self, task: str, how: str) -> None:
        if task in self._failed:
            raise Wrong(f"{task} ended again ({how}) after it had failed")


# ---------------------------------------------------------------- the end


def nothing_left(world: Any) -> None:
    """All resources are back, and nobody holds anything."""
    for node in world.every_node():
        _no_objects_left(node)
        _stores_are_empty(node, world)
        _no_tasks_left(node)
        for client in node.clients.clients.values():
            given = [id for id in client.given if "-f" not in id]
            if client.requests or client.pins or len(given) > 1:
                raise Wrong(f"{client.id} still has {client.requests}, {client.pins}, {given}")


def _no_tasks_left(node: Any) -> None:
    """No task is left, nor any resource that an actor holds for as long as it lives."""
    free, totals = node.pool.resources.free, node.pool.resources.totals
    if free != totals:
        raise Wrong(f"{node.place} has {free} free of {totals}")
    if tasks := list(node.submission.tasks):
        raise Wrong(f"{node.place} still has tasks: {', '.join(node.pending()) or tasks}")
    for what, left in (
        ("actors", node.lifecycle.owned),
        ("actors' processes", node.hosting.here),
        ("names", node.registry.names),
        ("lineage", node.lineage.origins),
    ):
        if left:
            raise Wrong(f"{node.place} still has {what}: {', '.join(left)}")


def _no_objects_left(node: Any) -> None:
    left = sorted(id for id in node.objects.records if "-f" not in id)
    if len(left) > 1:  # the one that was just put
        raise Wrong(f"{node.place} still has {', '.join(left)}")


def _stores_are_empty(node: Any, world: Any) -> None:
    """No store holds a block, a file or a promise, and nobody waits for room in one."""
    store = node.store
    account, daemon = store.account, world.daemons.get(node.place)
    for what, left in (
        ("blocks", account.held),
        ("promises", account.promised),
        ("claims", store.rooms),
        ("claims", store.fetches),
        ("on their way out", store.leaving()),
        ("on their way back", store.restoring),
        ("in memory", daemon and daemon.copies.memory),
        ("on disk", daemon and daemon.copies.files),
    ):
        if left:
            raise Wrong(f"the store of {node.place} still has {what}: {left}")
