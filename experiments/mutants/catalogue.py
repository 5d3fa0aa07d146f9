"""The mutants: each is one way to break the node, or the simulator, that a fuzzer should find."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from msgspec.structs import replace

from experiments.mutants.breaking import Break, Mutant, Workshop
from labray import messages as m
from labray.backends.sim.clock import randomness
from labray.ids import HEAD
from labray.node.node import Node

MUTANTS: dict[str, Mutant] = {}


def mutant(name: str) -> Callable[[Break], Break]:
    """Adds it to the list."""

    def add(breaks: Break) -> Break:
        assert name not in MUTANTS, name
        MUTANTS[name] = Mutant(name, breaks)
        return breaks

    return add


# ---------------------------------------------------------------- messages that are lost on the way


def _deaf(kind: type, workshop: Workshop) -> None:
    workshop.hears(kind, lambda node, message: None)


def _dumb(kind: type, workshop: Workshop) -> None:
    workshop.says(kind, lambda message: ())


UNHEARD: dict[str, type] = {
    "an Unpin is forgotten": m.Unpin,
    "a Drop is forgotten": m.DropRefs,
    "an abandoned get still counts as blocked": m.Abandon,
    "memory that was promised and not used stays promised": m.Deallocate,
    "that a node died is not heard by the others": m.PeerLost,
    "that a copy is missing is not heard by its owner": m.ObjectMissing,
}
UNSAID: dict[str, type] = {
    "a cancel is not passed on to the owner": m.CancelTask,
    "a cancel is not passed on to whoever has the task": m.WithdrawTask,
    "what runs is not interrupted": m.Interrupt,
    "nothing is recalled from a worker that blocks": m.Recall,
    "whoever passed a task on does not tell its owner": m.TaskMoved,
    "an actor call is dropped with its actor": m.TaskBounced,
    "a ref is passed on without telling its owner": m.BorrowAdded,
    "a ref that was passed on is never given back": m.BorrowReturned,
    "a name is not given back": m.NameReleased,
    "a copy stays when its object is freed": m.FreeCopy,
    "that there is a new copy is not told to the owner": m.LocationAdded,
    "who kills an actor of another node is not obeyed": m.KillActor,
}
for _name, _kind in UNHEARD.items():
    mutant(_name)(partial(_deaf, _kind))
for _name, _kind in UNSAID.items():
    mutant(_name)(partial(_dumb, _kind))


# ---------------------------------------------------------------- messages that are wrong


@mutant("a result is sent twice")
def _twice(workshop: Workshop) -> None:
    workshop.says(m.TaskDone, lambda message: (message, message))


@mutant("a result is told as that of the next attempt")
def _next_attempt(workshop: Workshop) -> None:
    workshop.says(m.TaskDone, lambda message: (replace(message, attempt=message.attempt + 1),))


@mutant("what a process keeps of its arguments is not counted")
def _kept(workshop: Workshop) -> None:
    workshop.hears(m.Finished, lambda node, message: replace(message, kept=()))


@mutant("a name is given twice")
def _name(workshop: Workshop) -> None:
    workshop.says(m.NameReserved, lambda message: (replace(message, accepted=True),))


@mutant("the last copy is dropped where memory is short")
def _spared(workshop: Workshop) -> None:
    workshop.says(m.EvictAnswered, lambda message: (replace(message, granted=True),))


@mutant("a head that is back is not told the names")
def _names(workshop: Workshop) -> None:
    workshop.says(m.NamesReported, lambda message: (replace(message, names=()),))


@mutant("what a lost head was asked is not asked again")
def _head_back(workshop: Workshop) -> None:
    def change(node: Node, message: m.PeerJoined) -> m.PeerJoined | None:
        return None if message.place == HEAD != node.place else message

    workshop.hears(m.PeerJoined, change)


@mutant("a wait is answered one short")
def _short(workshop: Workshop) -> None:
    workshop.says(m.ReadyPositions, lambda message: (replace(message, positions=message.positions[:-1]),))


@mutant("a blocked task keeps its CPU")
def _blocked(workshop: Workshop) -> None:
    for kind in (m.Get, m.Wait):
        workshop.hears(kind, lambda node, message: replace(message, task=None))


@mutant("nothing counts as begun at a worker that dies")
def _begun(workshop: Workshop) -> None:
    workshop.hears(m.WorkerLost, lambda node, message: replace(message, begun=()))


# ---------------------------------------------------------------- tries


def _retries(kinds: str, least: int, more: int, workshop: Workshop) -> None:
    def change(node: Node, message: m.SubmitTask) -> m.SubmitTask:
        spec = message.spec
        if spec.kind not in kinds.split() or spec.retries < least:
            return message
        return replace(message, spec=replace(spec, retries=spec.retries + more))

    workshop.hears(m.SubmitTask, change)


mutant("one retry fewer than allowed")(partial(_retries, "task method", 1, -1))
mutant("one retry more than allowed")(partial(_retries, "task method", 0, 1))
mutant("an actor restarts once too often")(partial(_retries, "actor", 0, 1))


# ---------------------------------------------------------------- effects


@mutant("a large value stays when it is freed")
def _free(workshop: Workshop) -> None:
    workshop.does(lambda effects: [effect for effect in effects if type(effect) is not m.FreeBlock])


@mutant("actor calls take turns from the wrong end")
def _turns(workshop: Workshop) -> None:
    """What is sent in one go to one worker is sent in reverse."""

    def change(effects: list[Any]) -> Iterable[Any]:
        runs = [effect for effect in effects if _is_call(effect)]
        backwards: dict[str, Iterator[Any]] = {
            to: iter([run for run in reversed(runs) if run.to == to]) for to in {run.to for run in runs}
        }
        return [next(backwards[effect.to]) if _is_call(effect) else effect for effect in effects]

    workshop.does(change)


def _is_call(effect: Any) -> bool:
    return (
        type(effect) is m.Send and type(effect.message) is m.RunTask and effect.message.spec.kind == "method"
    )


# ---------------------------------------------------------------- other functions


@mutant("what no node can run waits")
def _infeasible(workshop: Workshop) -> None:
    def make(original: Callable[..., None]) -> Callable[..., None]:
        def broken(node: Node, *given: Any, **options: Any) -> None:
            original(node, *given, **{**options, "strict": False})

        return broken

    workshop.replaces(Node, "__init__", make)


@mutant("simulated processes share the generators of random")
def _chance(workshop: Workshop) -> None:
    workshop.replaces(randomness, "install", lambda original: lambda patches, driver: randomness.of(driver))
