"""The options of @remote, .options and @method: one table, checked in one place.

A new option is a line of the table and a line of `build`. What comes out is an Options, in the words of
messages.TaskSpec; nobody else looks at what the user wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from msgspec import Struct

from labray.ids import NodeID
from labray.messages import LARGEST_AMOUNT, ONE_CPU, UNIT, Demand, Payload
from labray.serialization import codec
from labray.strategies import SPREAD, NodeAffinity, Strategy


class NodeAffinitySchedulingStrategy(Struct, frozen=True):
    """Run on this node. Where it cannot, the task fails; if soft, it may then run elsewhere."""

    node_id: str
    soft: bool = False


class Options(Struct, frozen=True):
    """What was asked for, checked. retries: of a task, a method, or an actor's restarts; -1 is for ever.

    demand: held while it runs (an actor: to be placed). lifetime: what an actor holds once it lives.
    strategy: None where nothing was asked for, as of every method.
    cost: CPU seconds at speed 1, or a function of the arguments that gives them. model: the sizes in bytes of the
    results of a task whose body does not run. card: what get_actor is given with the name, to build a handle.
    most_pending: calls of one process that may wait at an actor or run; 0 or less: any number.
    slots: how many calls an actor runs at once. No option sets it yet, and the cluster's workers have one thread.
    """

    demand: Demand = ONE_CPU
    lifetime: Demand = ()
    returns: int = 1
    retries: int = 0
    retry_on: Payload | None = None
    name: str = ""
    actor_name: str = ""
    get_if_exists: bool = False
    strategy: Strategy | None = None
    cost: float | Callable[..., float] | None = None
    model: tuple[int, ...] | None = None
    card: bytes = b""
    most_pending: int = -1
    slots: int = 1


class Option(Struct, frozen=True):
    """A line of the table. check: gives the value as it is kept, or raises ValueError or TypeError."""

    kinds: str  # of task, actor, method
    check: Callable[[str, Any], Any]


def nearest(word: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, and all of them."""
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(known)}."


# ---------------------------------------------------------------- checks


def _shown(value: float) -> str:
    """Python does not print the longest of numbers."""
    return "a longer one" if isinstance(value, int) and abs(value) > LARGEST_AMOUNT**2 else repr(value)


def amount(name: str, value: Any) -> int:
    """A resource in 1e-4, from a number that is not negative and no finer than 1e-4."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number, not {value!r}.")
    if not 0 <= value <= LARGEST_AMOUNT:
        raise ValueError(
            f"{name} is a finite number >= 0 (at most {LARGEST_AMOUNT:.0e}), not {_shown(value)}."
        )
    units = round(value * UNIT)
    if abs(units - value * UNIT) > 1e-6 * max(1, units):
        raise ValueError(f"{name} is counted in steps of 0.0001; {value!r} is finer.")
    return units


def _optional_amount(name: str, value: Any) -> int | None:
    return None if value is None else amount(name, value)


def resource_amounts(name: str, value: Any) -> dict[str, int]:
    """Custom resources in 1e-4; CPU and GPU have options of their own."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is a dict from resource names to amounts, not {value!r}.")
    for key in value:
        if not isinstance(key, str) or not key:
            raise TypeError(f"a resource's name is a non-empty string, not {key!r}.")
        if key in ("CPU", "GPU"):
            raise ValueError(f"use num_{key.lower()}s={value[key]!r} instead of {key!r} in {name}.")
    return {key: amount(f"{name}[{key!r}]", value[key]) for key in value}


def _whole(least: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} is a whole number, not {value!r}.")
        if value < least:
            ever = " (-1: without end)" if least == -1 else ""
            raise ValueError(f"{name} is >= {least}{ever}, not {value!r}.")
        if value > LARGEST_AMOUNT:
            raise ValueError(f"{name} is at most {LARGEST_AMOUNT:.0e}, not {_shown(value)}.")
        return value

    return check


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {value!r}.")
    return value


def _name(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{name} is a string, not {value!r}.")
    if not value.strip():
        raise ValueError(f"{name} is not empty.")
    return value


def _retry_on(name: str, value: Any) -> Payload | None:
    if value is False or value is None:
        return None
    types = [Exception] if value is True else value
    if not isinstance(types, list | tuple) or not all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in types
    ):
        raise TypeError(f"{name} is True, False or a list of exception types, not {value!r}.")
    return codec.settle(codec.encode(tuple(types)).payload)


def _not_detached(name: str, value: Any) -> None:
    if value not in (None, "non_detached"):
        raise ValueError(f"{name}={value!r} is not supported yet: actors end with their last handle.")


def _strategy(name: str, value: Any) -> Strategy | None:
    if value is None or value == "DEFAULT":
        return None
    if value == "SPREAD":
        return SPREAD
    if isinstance(value, NodeAffinitySchedulingStrategy) and isinstance(value.node_id, str):
        return NodeAffinity(NodeID(value.node_id), bool(value.soft))
    raise ValueError(f'{name} is "DEFAULT", "SPREAD" or a NodeAffinitySchedulingStrategy, not {value!r}.')


def seconds(name: str, value: Any) -> float:
    """A duration: a finite number of seconds >= 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of seconds, not {value!r}.")
    if not 0 <= value <= LARGEST_AMOUNT:
        raise ValueError(
            f"{name} is a finite number of seconds >= 0 (at most {LARGEST_AMOUNT:.0e}), not {_shown(value)}."
        )
    return float(value)


def _cost(name: str, value: Any) -> Any:
    return value if value is None or callable(value) else seconds(name, value)


# ---------------------------------------------------------------- the table

TABLE: dict[str, Option] = {
    "num_cpus": Option("task actor", _optional_amount),
    "num_gpus": Option("task actor", _optional_amount),
    "resources": Option("task actor", lambda name, value: resource_amounts(name, value or {})),
    "num_returns": Option("task method", _whole(0)),
    "max_retries": Option("task", _whole(-1)),
    "retry_exceptions": Option("task method", _retry_on),
    "max_restarts": Option("actor", _whole(-1)),
    "max_pending_calls": Option("actor", _whole(-1)),
    "max_task_retries": Option("actor method", _whole(-1)),
    "name": Option("task actor method", _name),
    "get_if_exists": Option("actor", _flag),
    "lifetime": Option("actor", _not_detached),
    "scheduling_strategy": Option("task actor", _strategy),
    "cost": Option("task actor method", _cost),
}

_NOT_YET = (
    "memory", "accelerator_type", "max_concurrency", "concurrency_groups", "concurrency_group", "namespace",
    "allow_out_of_order_execution", "runtime_env", "max_calls", "label_selector",
)  # fmt: skip


def check(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given options of a task, actor or method, each checked. Raises ValueError or TypeError."""
    checked = {}
    for name, value in given.items():
        option = TABLE.get(name)
        if option is None and name in _NOT_YET:
            raise ValueError(f"Ray's option {name!r} is not supported by labray yet.")
        if option is None or kind not in option.kinds:
            known = [known for known, option in TABLE.items() if kind in option.kinds]
            raise ValueError(
                f"{name!r} is not an option of {'an' if kind == 'actor' else 'a'} {kind}. {nearest(name, known)}"
            )
        checked[name] = option.check(name, value)
    return checked


def build(kind: str, given: Mapping[str, Any]) -> Options:
    """The Options of a task, actor or method, from what the user wrote. Raises ValueError or TypeError."""
    asked = check(kind, given)
    if asked.get("get_if_exists") and not asked.get("name"):
        raise ValueError("get_if_exists needs a name.")
    demand, lifetime = _resources(kind, asked)
    name = asked.get("name", "")
    return Options(
        demand=demand,
        lifetime=lifetime,
        returns=asked.get("num_returns", 1),
        retries=asked.get(*_RETRIES[kind]),
        retry_on=asked.get("retry_exceptions"),
        name="" if kind == "actor" else name,
        actor_name=name if kind == "actor" else "",
        get_if_exists=asked.get("get_if_exists", False),
        strategy=asked.get("scheduling_strategy"),
        cost=asked.get("cost"),
        most_pending=asked.get("max_pending_calls", -1),
    )


# 3 retries of a task after a lost worker are Ray's default; actors are not restarted, calls made at most once
_RETRIES = {"task": ("max_retries", 3), "actor": ("max_restarts", 0), "method": ("max_task_retries", 0)}


def _resources(kind: str, asked: Mapping[str, Any]) -> tuple[Demand, Demand]:
    """An actor that names no resource needs one CPU to be placed and none to live, as in Ray."""
    if kind == "method":
        return (), ()
    cpus, gpus = asked.get("num_cpus"), asked.get("num_gpus")
    amounts = dict(asked.get("resources", {}))
    named = bool(amounts) or cpus is not None or gpus is not None
    amounts["CPU"] = UNIT if cpus is None else cpus
    amounts["GPU"] = gpus or 0
    demand = tuple(sorted((name, units) for name, units in amounts.items() if units))
    return demand, demand if kind == "actor" and named else ()
