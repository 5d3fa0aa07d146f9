"""What must come of a program, told without running it: each result is its value, or one of the errors that may be.

The driver's node lives. So what it owns comes, whatever else dies, if it may be made again for ever; all the rest is
named here: `max_retries=0`, values and refs that another node owned, actors that are not to be called again.
"""

from __future__ import annotations

from msgspec import Struct

from experiments.soak.vocabulary import CREW
from labray.fuzz.expected_results import grown
from labray.fuzz.program import Step
from labray.fuzz.remote import ASKED, MODULUS

PLAIN, RESTARTS, STURDY = range(3)
"""Actors: never restarted; restarted for ever; and their calls retried for ever as well."""

LOST = frozenset({"ObjectLostError"})
GONE = frozenset({"OwnerDiedError", "ObjectLostError"})
CRASHED = frozenset({"WorkerCrashedError"})
CANCELLED = frozenset({"TaskCancelledError"})
DIED = frozenset({"ActorDiedError"})
AWAY = frozenset({"ActorUnavailableError"})
NO_SUCH_NAME = frozenset({"ValueError"})
Errors = frozenset[str]


class Promise(Struct, frozen=True):
    """Of one result. value: the number in it, None if any will do. errors: names of classes it may end in instead.

    inner: of the refs inside it, in order.
    """

    value: int | None
    errors: Errors = frozenset()
    inner: tuple[Promise, ...] = ()


class Fates(Struct, frozen=True):
    """What happens to results and actors later in the program."""

    cancelled: frozenset[int]
    killed: frozenset[int]
    dropped: frozenset[int]
    named: frozenset[int]


def fates(steps: tuple[Step, ...]) -> Fates:
    def named_by(op: str) -> frozenset[int]:
        return frozenset(at for step in steps if step.op == op for at in step.args)

    killed = frozenset(step.actor for step in steps if step.op == "kill")
    named = frozenset(step.number for step in steps if step.op == "actor" and step.large)
    return Fates(named_by("cancel"), killed, named_by("drop"), named)


def promises(steps: tuple[Step, ...]) -> dict[int, Promise]:
    """By the number of the step, for each that makes something."""
    found: dict[int, Promise] = {}
    fate, kinds = fates(steps), {step.number: step.value for step in steps if step.op == "actor"}
    fragile = frozenset(s.number for s in steps if s.op == "put" and s.large and s.number in fate.dropped)
    present: dict[int, Promise] = {}
    kept: dict[int, list[Promise]] = {actor: [] for actor in kinds}
    for step in steps:
        if step.op == "drop":
            for at in step.args:
                present.pop(at, None)
            continue
        args = {at: present[at] for at in step.args if at in present}
        given = tuple(args.values())
        if step.op == "keep":
            kept[step.actor] += given
        errors = frozenset[str]().union(*(each.errors for each in given))
        if fragile & args.keys():  # let go of and put only once: what is made from it may not come back
            errors |= LOST
        promise = _of_actor(step, given, errors, kinds[step.actor], fate, kept[step.actor]) if (
            step.actor >= 0 and step.op != "actor"
        ) else _of_task(step, given, errors)  # fmt: skip
        if promise is not None:
            if step.number in fate.cancelled:
                promise = Promise(promise.value, promise.errors | CANCELLED, promise.inner)
            found[step.number] = present[step.number] = promise
    return found


def _sum(given: tuple[Promise, ...]) -> int | None:
    numbers = [each.value for each in given if each.value is not None]
    return sum(numbers) % MODULUS if len(numbers) == len(given) else None


def _of_task(step: Step, given: tuple[Promise, ...], errors: Errors) -> Promise | None:
    value = step.value
    match step.op:
        case "leaf" | "put":
            return Promise(value)
        case "brittle":
            return Promise(value, CRASHED | LOST if step.large else CRASHED)
        case "add":
            return Promise(_sum(given), errors)
        case "nest":
            return Promise(grown(step.tree, value))
        case "burst":
            return Promise(sum(range(value)) % MODULUS)
        case "crash":
            return Promise(None, CRASHED)
        case "fail":
            return Promise(None, CRASHED | {*ASKED})
        case "box":
            return Promise(None, inner=(Promise(value, GONE), Promise(value + 1, GONE)))
        case "unbox":
            inner = given[0].inner if given else ()
            return Promise(sum(each.value or 0 for each in inner), errors | GONE)
        case "relay":
            return Promise(None, inner=given)
        case "team":
            return Promise(CREW * value + sum(range(CREW)), DIED)
    return None


def _of_actor(
    step: Step, given: tuple[Promise, ...], errors: Errors, kind: int, fate: Fates, kept: list[Promise]
) -> Promise | None:
    errors |= (DIED, AWAY, frozenset[str]())[kind]
    if step.actor in fate.killed:
        errors |= DIED | (AWAY if kind != PLAIN else frozenset())
        if step.op == "ask" and step.actor in fate.named:
            errors |= NO_SUCH_NAME
    match step.op:
        case "call" | "ask":
            if step.op == "ask" and kind == PLAIN and step.actor in fate.named:
                errors |= NO_SUCH_NAME
            return Promise(given[0].value if given else step.value, errors)
        case "collect":
            inner = frozenset[str]().union(*(each.errors for each in kept))
            return Promise(_sum(tuple(kept)) if kind == PLAIN else None, errors | inner)
        case "bulk":
            return Promise(step.value, errors | LOST)
    return None
