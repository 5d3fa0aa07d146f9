"""A failing case is cut down greedily, as long as it still fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from labray.faults import Faults
from labray.fuzz.generation import Case, Setup

Fails = Callable[[Case], bool]
PARTS = ("deaths", "crashes", "cuts", "delays", "slow")
MOST_TRIES = 500


def shrink(case: Case, fails: Fails) -> Case:
    """Return the smallest case found that still fails."""
    tries = 0
    while tries < MOST_TRIES:
        for smaller in simpler(case):
            tries += 1
            if fails(smaller):
                case = smaller
                break
            if tries >= MOST_TRIES:
                return case
        else:
            return case
    return case


def simpler(case: Case) -> Iterator[Case]:
    """Yield simpler cases that might fail as well, the greatest leaps first."""
    yield from _without_steps(case)
    yield from _with_fewer_faults(case)
    yield from _on_a_simpler_cluster(case)
    yield from _with_simpler_steps(case)


def _without_steps(case: Case) -> Iterator[Case]:
    steps = case.steps
    size = len(steps) // 2
    while size:
        for at in range(0, len(steps), size):
            yield replace(case, steps=steps[:at] + steps[at + size :])
        size //= 2


def _with_fewer_faults(case: Case) -> Iterator[Case]:
    faults = case.faults
    for part in PARTS:
        listed = getattr(faults, part)
        for at in range(len(listed)):
            yield replace(case, faults=replace(faults, **{part: listed[:at] + listed[at + 1 :]}))
    usual = Faults()
    for name, value in (
        ("stragglers", None),
        ("mtbf", None),
        ("spread", 0.0),
        ("seed", usual.seed),
        ("notice", usual.notice),
    ):
        if getattr(faults, name) != value:
            yield replace(case, faults=replace(faults, **{name: value}))
    for at, death in enumerate(faults.deaths):
        if death.back is not None and death.node != "head":  # without one some policies may wait for ever
            lasting = (*faults.deaths[:at], replace(death, back=None), *faults.deaths[at + 1 :])
            yield replace(case, faults=replace(faults, deaths=lasting))


def _on_a_simpler_cluster(case: Case) -> Iterator[Case]:
    setup, usual = case.setup, Setup()
    named = [int(name[1:]) for name in case.faults.named() if name != "head"]
    if setup.nodes > max([*named, 0]) + 1:
        yield replace(case, setup=replace(setup, nodes=setup.nodes - 1))
    for name in (
        "num_cpus", "host_cores", "latency_s", "bandwidth_Bps", "network", "pulls", "profile", "object_store_memory",
    ):  # fmt: skip
        usual_value: Any = getattr(usual, name)
        if getattr(setup, name) != usual_value:
            yield replace(case, setup=replace(setup, **{name: usual_value}))
    if setup.head != "n0" and "head" not in case.faults.named():
        yield replace(case, setup=replace(setup, head="n0"))


def _with_simpler_steps(case: Case) -> Iterator[Case]:
    for at, step in enumerate(case.steps):
        plainer = [replace(step, args=step.args[:i] + step.args[i + 1 :]) for i in range(len(step.args))]
        if step.large:
            plainer.append(replace(step, large=False))
        if step.seconds:
            plainer.append(replace(step, seconds=0.0))
        if step.tree:
            plainer.append(replace(step, tree=step.tree[1:]))
        for plain in plainer:
            yield replace(case, steps=(*case.steps[:at], plain, *case.steps[at + 1 :]))
