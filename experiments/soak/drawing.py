"""Drawing a program at random: the same for the same seed."""

from __future__ import annotations

from random import Random

from labray.fuzz.program import Step

_OPS = {
    "leaf": 6, "brittle": 2, "add": 6, "nest": 2, "put": 3, "burst": 0.5, "crash": 0.5, "fail": 0.5,
    "box": 1.5, "unbox": 1.5, "relay": 1.5, "team": 0.7, "drop": 3, "wait": 2, "get": 2, "sleep": 1,
    "cancel": 1, "actor": 1.5,
    "call": 6, "ask": 2, "keep": 2, "collect": 1, "bulk": 1, "kill": 0.3, "crash_actor": 0.4,
}  # fmt: skip
_OF_ACTORS = ("call", "ask", "keep", "collect", "bulk", "kill", "crash_actor")
_WITH_ARGS = ("add", "relay", "drop", "wait", "keep", "fail")
_WITH_ONE = ("call", "ask", "get")
NUMBERS = ("leaf", "brittle", "add", "nest", "put", "burst", "crash", "fail", "unbox", "team", "ask", "bulk")
"""What makes a number, and so can be an argument of what wants one."""
CANCELLABLE = ("leaf", "brittle", "add", "nest", "burst")


def drawn(rng: Random) -> tuple[Step, ...]:
    """A program of 10 to 60 steps."""
    steps: list[Step] = []
    for number in range(rng.randrange(10, 60)):
        steps.append(_step(rng, number, steps))
    return tuple(steps)


def _step(rng: Random, number: int, before: list[Step]) -> Step:
    actors = [step.number for step in before if step.op == "actor"]
    made = [step.number for step in before if step.op in NUMBERS]
    boxes = [step.number for step in before if step.op == "box"]
    names = [op for op in _OPS if actors or op not in _OF_ACTORS]
    (op,) = rng.choices(names, [_OPS[name] for name in names])
    args: tuple[int, ...] = ()
    if op == "keep":
        made = _without_actors(before)
    if op in _WITH_ARGS and made:
        args = tuple(sorted({rng.choice(made) for _ in range(rng.randrange(4))}))
    elif op in _WITH_ONE and made and rng.random() < 0.6:
        args = (rng.choice(made),)
    elif op == "unbox":
        if not boxes:
            return Step(number, "leaf", value=1)
        args = (rng.choice(boxes),)
    elif op == "cancel":
        args = tuple(step.number for step in before[-4:] if step.op in CANCELLABLE)[-1:]
    return Step(
        number, op, args,
        rng.choice(actors) if op in _OF_ACTORS else -1,
        rng.choice((0, 0, 1, 1, 2)) if op == "actor" else rng.randrange(5, 40) if op == "burst" else rng.randrange(10),
        rng.random() < 0.4,
        rng.choice((0.0, 0.001, 0.01, 0.05)) if op in ("leaf", "brittle", "sleep", "wait", "get") else 0.0,
        tuple(rng.randrange(1, 4) for _ in range(rng.randrange(3))) if op == "nest" else (),
    )  # fmt: skip


def _without_actors(steps: list[Step]) -> list[int]:
    """What no actor has a part in: one that opens the result of a call of its own, not made yet, waits for itself."""
    through: set[int] = set()
    for step in steps:
        if step.op in _OF_ACTORS or through.intersection(step.args):
            through.add(step.number)
    return [step.number for step in steps if step.op in NUMBERS and step.number not in through]


def tasks_in(step: Step) -> int:
    """The number of tasks and calls of a program in a run without faults."""
    match step.op:
        case "nest":
            count, widths = 1, 1
            for width in step.tree:
                widths *= width
                count += widths
            return 3 * count - 2 * widths
        case "burst":
            return step.value + 2
        case "box":
            return 2
        case "ask":
            return 2
        case "team":
            return 5
        case "drop" | "wait" | "get" | "sleep" | "cancel" | "kill" | "put":
            return 0
    return 1
