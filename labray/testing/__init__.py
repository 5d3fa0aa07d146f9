"""A pytest plugin: the fixture `simulation` runs a program in the simulator, under a seed that any failure names.

    def test_it_counts(simulation):
        simulation(nodes=3)
        assert program() == 10

`pytest --labray-seeds 20` runs each such test under seeds 0 to 19, `LABRAY_SEED=17 pytest ...` under that one. A seed
is a schedule: seed 0 is the simulator as it is, any other disturbs latency, node speeds and task durations, so what
may happen in another order does. Nothing of labray is loaded before a test asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from labray.session import Context
    from labray.testing.probe import Holdings

SEED = "LABRAY_SEED"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("labray", "labray: programs in the simulator")
    group.addoption(
        "--labray-seeds", type=int, default=1, metavar="N",
        help=f"run each test that uses `simulation` under seeds 0 to N-1; {SEED}=n in the environment: that one alone",
    )  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "labray_seed" in metafunc.fixturenames:
        chosen = seeds(os.environ.get(SEED, ""), metafunc.config.getoption("--labray-seeds"))
        metafunc.parametrize("labray_seed", chosen, ids=[f"seed{seed}" for seed in chosen], indirect=True)


def seeds(one: str, many: int) -> list[int]:
    """The seed named in the environment, or so many from 0."""
    if one:
        if not one.isdecimal():
            raise pytest.UsageError(f"{SEED} is a whole number >= 0, not {one!r}.")
        return [int(one)]
    if many < 1:
        raise pytest.UsageError(f"--labray-seeds is a number >= 1, not {many}.")
    return list(range(many))


@pytest.fixture
def labray_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run of the test."""
    seed: int = request.param
    return seed


class Simulation:
    """Starts the simulation of a test: call it with the options of init(), except backend and seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.started = False

    def __call__(self, *, nodes: int = 1, **options: Any) -> Context:
        """faults: a plan, or a function of the seed that gives one. The seed disturbs no option that is given."""
        from labray import session

        for taken in ("backend", "seed"):
            if taken in options:
                raise TypeError(f"simulation() has a {taken} of its own; {taken}= is for labray.init().")
        faults: Any = options.get("faults")
        if isinstance(faults, Callable):  # type: ignore[arg-type]
            options["faults"] = faults(self.seed)
        session.shutdown()
        self.started = True
        disturbances = disturbed(self.seed, nodes)
        if options.get("host_cores") is not None:  # then all nodes are one machine, of one speed
            disturbances.pop("speeds", None)
        return session.init("sim", nodes=nodes, seed=self.seed, **disturbances | options)

    def close(self) -> None:
        """End the simulation; AssertionError if a node's invariants do not hold."""
        from labray import session
        from labray.backends.contract import Validated

        if not self.started or not session.is_initialized():
            return
        try:
            running = session.running()
            if isinstance(running, Validated):
                running.validate()
        finally:
            session.shutdown()


def disturbed(seed: int, nodes: int) -> dict[str, Any]:
    """Options by which other things come first in a simulation. The seed alone decides them; seed 0 has none."""
    if seed == 0:
        return {}
    from labray.costs import Declared, Jittered

    random = Random(f"labray.testing/{seed}")
    return {
        "latency_s": 10 ** random.uniform(-5, -2.5),
        "speeds": {f"n{at}": 2 ** random.uniform(-1, 1) for at in range(nodes)},
        "costs": Jittered(Declared(), 10 ** random.uniform(-5, -2), seed),
    }


def held() -> Holdings:
    """What each node of the running session holds, and why. The program itself is not asked."""
    from labray.testing import probe

    return probe.held()


def released(timeout: float = 10.0) -> Holdings:
    """Wait until nothing is held anywhere. TimeoutError after so many of the world's seconds, with all that is."""
    from labray.testing import probe

    return probe.released(timeout)


@pytest.fixture
def simulation(labray_seed: int) -> Iterator[Simulation]:
    """Start a simulated cluster: `simulation(nodes=3, num_cpus=2, faults=...)`. It ends with the test."""
    one = Simulation(labray_seed)
    yield one
    one.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add to the report of a failure how to reproduce it."""
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    seed = getattr(item, "funcargs", {}).get("labray_seed")
    if report.failed and seed is not None:
        report.sections.append(("labray", f"reproduce: {SEED}={seed} pytest {_quoted(item.nodeid)}"))


def _quoted(nodeid: str) -> str:
    return "'" + nodeid.replace("'", "'\\''") + "'"
