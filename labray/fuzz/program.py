"""A random program as data: what the driver does, step by step.

Steps name the results of earlier ones by number; a number that is not there is left out, so that any part of a
program is a program and a failing one can be cut down. interpreter.py carries them out, oracle.py says what must come.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from msgspec import Struct

SECOND = 1000
"""A step's number plus this names the second of its results."""
SLOTS = 2
"""Each node has so many of the resource `slot`; at most one actor holds one, so every task that wants one ends."""


class Step(Struct, frozen=True, omit_defaults=True):
    """One statement of the driver.

    op: a key of OPS. args, actor: numbers of earlier steps. tree: what a nested task submits, level by level.
    retries: of a task, restarts of an actor. how: which variant, in words, several separated by blanks.
    """

    number: int
    op: str
    args: tuple[int, ...] = ()
    actor: int = -1
    value: int = 0
    large: bool = False
    seconds: float = 0.0
    tree: tuple[int, ...] = ()
    retries: int = -1
    how: str = ""

    def in_store(self) -> bool:
        """Whether its (first) result is too large to travel inside messages."""
        if self.op in ("spawn", "remade"):
            return self.op == "remade" or self.how == "fat"
        return self.large and self.op in ("leaf", "add", "put", "pair", "call")

    def stores(self) -> bool:
        """Whether the step needs room in a store."""
        return self.in_store() or self.op == "carry" or (self.op == "nest" and self.large and bool(self.tree))


OPS: dict[str, float] = {
    # what makes a result
    "leaf": 6, "add": 6, "nest": 2, "put": 2, "pair": 1.5, "spawn": 1.5, "nap": 1.5, "carry": 0.7, "patient": 1,
    "crash": 0.7, "fail": 1.5, "flaky": 1, "infeasible": 0.4, "call": 5, "use": 2, "kept": 0.8, "relay": 2.5,
    "meet": 1, "find": 0.8, "remade": 2,
    # what does not
    "get": 2, "wait": 2, "sleep": 2, "drop": 3, "cancel": 3, "keep": 1.5, "kill": 0.5, "crash_actor": 0.7,
    "drop_actor": 0.5, "actor": 0.7,
}  # fmt: skip
"""How often each is drawn."""
OF_ACTORS = ("call", "use", "kept", "relay", "keep", "kill", "crash_actor", "drop_actor")
TOGETHER = ("add", "patient", "spawn")
"""These need all their arguments in one store at once, or their reader does, who looks into the list that they make."""
UNLIMITED = 10**9
"""Values, in a store without a capacity."""
TAKE_MANY = ("add", "get", "wait", "drop", "spawn", "patient", "keep", "fail")
TAKE_ONE = ("call", "use", "relay", "cancel")
NAMES = ("ann", "bob")
FAILURES = (
    "", "carrier", "carrier", "cause", "interrupt", "generator", "stop", "abort", "sealed", "locked",
)  # fmt: skip
"""What a body may raise: things that are no Exception, classes that resist pickling, errors with refs or a cause."""


def drawn(rng: Random, nodes: int = 1) -> tuple[Step, ...]:
    """A program of 3 to 40 steps."""
    steps = [_actor(rng, at) for at in range(rng.randrange(3))]
    actors = list(range(len(steps)))
    for number in range(len(steps), len(steps) + rng.randrange(3, 38)):
        sleeping = [step.number for step in steps if step.op == "nap"]
        steps.append(_step(rng, number, actors, nodes, sleeping))
        if steps[-1].op == "actor":
            actors.append(number)
    return tuple(steps)


def _actor(rng: Random, number: int) -> Step:
    """large: its calls are retried without end. how: a name, and what it asks for."""
    how = [rng.choice(["", "", "slot", "placed"]) if number == 0 else rng.choice(["", "", "placed"])]
    if rng.random() < 0.06:
        how = [rng.choice(["infeasible", "fails"])]
    if rng.random() < 0.35:
        how += [rng.choice(["or found", "new"]), rng.choice(NAMES)]
    retries = rng.choice([-1, -1, 0, 1])
    return Step(number, "actor", large=rng.random() < 0.5, retries=retries, how=" ".join(how).strip())


def _step(rng: Random, number: int, actors: list[int], nodes: int, sleeping: list[int]) -> Step:
    names = [op for op in OPS if actors or op not in OF_ACTORS]
    (op,) = rng.choices(names, [OPS[name] for name in names])
    if op == "actor":
        return _actor(rng, number)
    count = rng.randrange(4) if op in TAKE_MANY else 1 if op in TAKE_ONE else 0
    args = sorted(
        {rng.randrange(number) + (SECOND if rng.random() < 0.1 else 0) for _ in range(count) if number}
    )
    if op == "cancel" and rng.random() < 0.6:  # what may still run, or has only just been submitted
        args = [rng.choice(sleeping[-2:] or [max(0, number - 1)])]
    retries = _RETRIES.get(op, _endless)(rng)
    return Step(
        number,
        op,
        tuple(args),
        rng.choice(actors) if actors and op in OF_ACTORS else -1,
        rng.randrange(10),
        rng.random() < 0.4,
        rng.choice(_SECONDS[op]) if op in _SECONDS else 0.0,
        tuple(rng.randrange(1, 4) for _ in range(rng.randrange(3))) if op == "nest" else (),
        retries,
        _HOW[op](rng, nodes) if op in _HOW else "",
    )


def _endless(rng: Random) -> int:
    return -1


def _few(rng: Random) -> int:
    return rng.choice([0, 1, 2])


def _some(rng: Random) -> int:
    return rng.choice([-1, -1, -1, 0, 1, 2])


_RETRIES: dict[str, Callable[[Random], int]] = {
    "leaf": _some, "add": _some, "flaky": _some, "nap": _some, "crash": _few,
}  # fmt: skip

FOREVER = -1.0
"""As a timeout it means that there is none."""
_SECONDS = {
    "leaf": [0.0, 0.001, 0.01, 0.05],
    "nap": [0.01, 0.05, 0.5, 0.5],
    "patient": [0.0, 0.001, 0.05],
    "sleep": [0.0, 0.001, 0.01, 0.05],
    "wait": [0.0, 0.001, 0.01, 0.05, FOREVER],
    "get": [0.0, 0.001, 0.01, 0.05, FOREVER],
}


def _where(rng: Random, nodes: int) -> str:
    """The resource or node that a task asks for beside its CPU."""
    kind = rng.choice(["", "", "", "", "", "slot", "spread", "soft", "hard", "node"])
    return f"{kind} n{rng.randrange(nodes)}" if kind in ("soft", "hard", "node") else kind


_HOW: dict[str, Callable[[Random, int], str]] = {
    "leaf": _where,
    "remade": lambda rng, nodes: rng.choice(["", f"soft n{nodes - 1}"]),
    "spawn": lambda rng, nodes: rng.choice(["", "", "fat"]),
    "cancel": lambda rng, nodes: rng.choice(["", "", "force", "flat", "force flat"]),
    "kill": lambda rng, nodes: rng.choice(["", "", "restart"]),
    "fail": lambda rng, nodes: rng.choice(FAILURES),
    "flaky": lambda rng, nodes: rng.choice(["", "", "all", "others"]),
    "meet": lambda rng, nodes: rng.choice(NAMES),
    "find": lambda rng, nodes: rng.choice(NAMES),
}
