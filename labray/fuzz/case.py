"""A case is run here, and checked while it runs and when it is over.

Every node checks its invariants after every input. Every ref ends as promised (expected_results.py). Then nothing
goes wrong any more and everything must finish; in the end all resources are back and nothing is held (judging.py).
"""

from __future__ import annotations

import gc
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import labray as ray
from labray import errors, session
from labray.fuzz.generation import Case, Setup
from labray.fuzz.interpreter import Interpreter
from labray.fuzz.judging import Wrong, judge_trace, nothing_left
from labray.fuzz.policies import policy
from labray.fuzz.program import SLOTS
from labray.fuzz.remote import leaf, number_in
from labray.trace import Event

SOON_S = 3.0
"""Long enough, in virtual time, for every heartbeat and every message under way."""
MOST_EVENTS = 100_000


def run(case: Case, tally: Counter[str] | None = None) -> Sequence[Event]:
    """Run a case and return its trace; raise what went wrong. tally counts operations and outcomes."""
    setup = {name: getattr(case.setup, name) for name in Setup.__struct_fields__}
    if case.setup.network == "instant":  # they are drawn, and would have no effect
        del setup["bandwidth_Bps"], setup["pulls"]
    setup["scheduler"] = policy(case.setup.scheduler)
    tally = Counter[str]() if tally is None else tally
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            backend="sim", seed=case.seed, faults=case.faults, validate=True, max_events=MOST_EVENTS,
            resources={"slot": SLOTS}, blocked_s=None, **setup,
        )  # fmt: skip
        try:
            _live(case, tally)
            if case.fatal():
                raise Wrong("the driver's node died, and the session lives on")
        except errors.SessionError as error:
            if not case.fatal() or " died at t=" not in str(error):
                raise
            tally["outcome session ended"] += 1
        finally:
            events = session.running().trace()
            ray.shutdown()
    return events


def _live(case: Case, tally: Counter[str]) -> None:
    driver = Interpreter(case, tally)
    for step in case.steps:
        driver.do(step)
    for number in driver.refs:
        driver.judge(number)
    driver.refs.clear()
    driver.actors.clear()
    _calm(case)
    world: Any = session.running()
    judge_trace(world.trace(), driver.cancelled, driver.asleep if _prompt(case) else {})
    nothing_left(world)


def _prompt(case: Case) -> bool:
    """Whether the fault plan lets every message arrive without delay."""
    faults = case.faults
    return not (faults.cuts or faults.delays or faults.deaths or faults.mtbf)


def _calm(case: Case) -> None:
    """Wait until the last fault is over; from then on everything that is asked must be done."""
    last = case.faults.last() + case.faults.notice + case.faults.spread
    ray.sleep(max(0.0, last - ray.now()) + SOON_S)
    wave = [
        leaf.remote(at, at % 2 == 0 and case.setup.room() > 0, 0.001) for at in range(3 * case.setup.nodes)
    ]
    if [number_in(ray.get(ref)) for ref in wave] != list(range(len(wave))):
        raise Wrong("after the last fault, values are wrong")
    wave.clear()
    gc.collect()
    for _ in range(2):
        ray.sleep(SOON_S)
        ray.wait([ray.put(0)])  # any call tells the node which handles are gone
