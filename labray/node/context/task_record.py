"""A task at one node: its states and the steps between them, as a table. An illegal step raises."""

from __future__ import annotations

from enum import IntEnum

from labray.ids import DRIVER, ClientID, NodeID, TaskID
from labray.messages import ErrorInfo, Failed, Inline, Ref, Remote, TaskSpec
from labray.scheduling import Task


class State(IntEnum):
    WAITING = 0  # for its dependencies to exist
    UNDECIDED = 1  # the agent knows of it and has not decided
    FETCHING = 2  # kept here, while stored dependencies or its code are on the way
    READY = 3  # kept here, waits for room
    DISPATCHED = 4  # sent to a worker: it runs there, or is queued
    BLOCKED = 5  # running, and waiting for the node in a get or wait
    FORWARDED = 6  # another place has custody; only its owner keeps a record of it
    CALLING = 7  # an actor call that waits, here, for the actor's place or for its turn
    OVER = 8


S = State
STEPS: dict[State, tuple[State, ...]] = {
    S.WAITING: (S.UNDECIDED, S.CALLING, S.OVER),
    S.UNDECIDED: (S.FETCHING, S.READY, S.FORWARDED, S.OVER),
    S.FETCHING: (S.READY, S.WAITING, S.FORWARDED, S.OVER),
    S.READY: (S.DISPATCHED, S.FETCHING, S.FORWARDED, S.OVER),
    S.DISPATCHED: (S.BLOCKED, S.READY, S.WAITING, S.CALLING, S.OVER),
    S.BLOCKED: (S.DISPATCHED, S.WAITING, S.CALLING, S.OVER),
    S.FORWARDED: (S.WAITING, S.CALLING, S.OVER),
    S.CALLING: (S.DISPATCHED, S.FORWARDED, S.OVER),
    S.OVER: (),
}
LEGAL = frozenset((a, b) for a, after in STEPS.items() for b in after)


FORWARDABLE = (State.UNDECIDED, State.FETCHING, State.READY)
"""A task in one of these is its agent's to pass on."""


class ReadyCount:
    """How many tasks of a node are READY, and whether something has changed for them since they were looked at."""

    __slots__ = ("dirty", "size")

    def __init__(self) -> None:
        self.size = 0
        self.dirty = False

    def leave_ready(self) -> None:
        """A task is not ready any more, for another reason than that it was sent to a worker."""
        self.size -= 1
        self.dirty = True


BY_GUESS = 1
"""Of a task of another place whose parent is a task: it is taken to be waited for, as most are."""


class TaskRecord:
    """What one node knows of one task.

    known: what came with it of its dependencies, in order (small ones whole); () where it was submitted.
    seq: the order in which tasks came to this place. at: who has custody, when FORWARDED;
    via: who said so, if it was not that place itself. cancelled: (force, recursive).
    excused: attempts that use up no retry. uncertain: of a call that was lost with its actor's place, what it ends in
    if the actor lives on. wanted: the request of a blocked task that was the first to wait for this one (requests are
    numbered from 2 on), BY_GUESS, or 0. ready: while it is READY, the count that it is in.
    """

    __slots__ = (
        "astray",
        "at",
        "attempt",
        "cancelled",
        "excused",
        "fact",
        "fetches",
        "hops",
        "id",
        "known",
        "mine",
        "missing",
        "priority",
        "ready",
        "seq",
        "spec",
        "state",
        "submitter",
        "ticket",
        "uncertain",
        "via",
        "wanted",
        "worker",
    )

    def __init__(self, spec: TaskSpec, seq: int, mine: bool, attempt: int = 0, hops: int = 0) -> None:
        self.id: TaskID = spec.id
        self.spec = spec
        self.seq = seq
        self.mine = mine
        self.attempt = attempt
        self.hops = hops
        self.state = State.WAITING
        self.missing = 0
        self.fetches = 0
        self.astray = 0
        self.excused = 0
        self.priority = 0.0
        self.known: tuple[Inline | Failed | Remote, ...] = ()
        self.fact: Task | None = None
        self.ready: ReadyCount | None = None
        self.at: NodeID | None = None
        self.via: NodeID | None = None
        self.worker: ClientID | None = None
        self.submitter = spec.parent
        self.ticket = 0
        self.wanted = 0 if mine or spec.parent == DRIVER else BY_GUESS
        self.cancelled: tuple[bool, bool] | None = None
        self.uncertain: ErrorInfo | None = None

    def step(self, state: State) -> None:
        if (self.state, state) not in LEGAL:
            raise AssertionError(f"task {self.id} cannot go from {self.state.name} to {state.name}")
        self.state = state
        if (
            self.ready is not None
        ):  # what is done whenever READY is left: its entry in the queue is now a ghost
            self.ready.leave_ready()
            self.ready = None

    def may_retry(self) -> bool:
        """Whether there may be another attempt, should this one be lost."""
        return retries_left(self.spec, self.attempt, self.excused)

    def excuse(self) -> None:
        """The attempt is lost where nothing runs: it uses up no retry, of which there must be some."""
        self.excused += self.spec.retries != 0 or self.spec.kind == "actor"

    def __repr__(self) -> str:
        return f"<{self.spec.name} {self.id} #{self.attempt} {self.state.name}>"


def retries_left(spec: TaskSpec, attempt: int, excused: int) -> bool:
    """Whether what is in this attempt may have another: attempts that are excused use up no retry."""
    return spec.retries < 0 or attempt - excused < spec.retries


def pinned(spec: TaskSpec) -> tuple[Ref, ...]:
    """What a task needs until it is over. (Code is never freed.)"""
    refs = spec.deps + spec.args.refs if spec.deps or spec.args.refs else ()
    return (*refs, spec.actor) if spec.actor is not None else refs


def borrowed(task: TaskRecord) -> list[Ref]:
    """Its arguments that did not come along with it."""
    known = task.known or (None,) * len(task.spec.deps)
    return [ref for ref, value in zip(task.spec.deps, known, strict=True) if type(value) is not Inline]
