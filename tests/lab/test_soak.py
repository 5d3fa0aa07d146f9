"""The soak's own parts, and a short one under fire. The long one is `python -m experiments.soak`."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

import labray
from experiments.harness.study import Study
from experiments.soak import healthy, summary, watching
from experiments.soak.calm import PROGRAMS
from experiments.soak.drawing import drawn, tasks_in
from experiments.soak.killing import Rates
from experiments.soak.promises import Promise, promises
from experiments.soak.rounds import Failure, Found, Plan, Soak
from experiments.soak.running import HangError, Program, WrongError
from experiments.soak.watching import Sample
from labray.calibration.provenance import Provenance
from labray.fuzz.program import Step

DEADLY = ("crash", "crash_actor", "kill", "cancel")


def peaceful(seed: int) -> tuple[Step, ...]:
    """A program in which nothing dies: so every result is a value, but for what is raised."""
    return tuple(step for step in drawn(Random(seed)) if step.op not in DEADLY)


@pytest.mark.parametrize("backend", ["inline", "sim"])
@pytest.mark.parametrize("seed", range(8))
def test_without_faults_every_result_is_the_value_that_was_promised(backend: str, seed: int) -> None:
    labray.init(backend, **({"nodes": 3} if backend == "sim" else {}))
    program = Program(peaceful(seed), "peaceful")
    program.run()
    assert set(program.tally) <= {"value", "ValueError", "GetTimeoutError"}
    assert program.tally["ValueError"] == sum(step.op == "fail" for step in program.steps)


def test_the_same_seed_draws_the_same_program() -> None:
    assert drawn(Random("3/1/0")) == drawn(Random("3/1/0")) != drawn(Random("3/1/1"))
    assert all(step.op in ("drop", "wait", "get", "sleep", "cancel", "kill", "put") or tasks_in(step) > 0
               for step in drawn(Random(5)))  # fmt: skip


def test_what_was_put_once_and_let_go_of_may_be_lost_for_good_and_all_else_may_not() -> None:
    steps = (
        Step(0, "put", value=3, large=True),
        Step(1, "leaf", value=4, large=True),
        Step(2, "add", (0, 1), large=True),
        Step(3, "add", (1,)),
        Step(4, "add", (2, 3)),
        Step(5, "drop", (0, 1)),
    )
    told = promises(steps)
    lost = frozenset({"ObjectLostError"})
    assert [told[at] for at in (2, 3, 4)] == [Promise(7, lost), Promise(4), Promise(11, lost)]


def test_another_value_and_an_error_that_nothing_explains_are_wrong() -> None:
    labray.init("sim")
    other = Program((Step(0, "leaf", value=3),), "wrong")
    other.promises[0] = Promise(4)
    with pytest.raises(WrongError, match="must be 4, and is 3"):
        other.run()
    failing = Program((Step(0, "fail"),), "wrong")
    failing.promises[0] = Promise(None, frozenset({"WorkerCrashedError"}))
    with pytest.raises(WrongError, match="must be one of WorkerCrashedError, and failed"):
        failing.run()


def test_a_result_that_does_not_come_is_a_hang() -> None:
    labray.init("sim")
    with pytest.raises(HangError, match="step 0"):
        Program((Step(0, "leaf", seconds=100.0),), "hang", patience=1.0).run()


def test_growth_is_seen_in_who_lives_on_and_in_those_that_are_replaced() -> None:
    samples = [Sample(float(at), "driver", float(at), 100.0 + at / 10, 10) for at in range(180)]
    for number in range(18):
        born = 10.0 * number
        size = 40.0 if number < 9 else 50.0
        samples += [Sample(born + age, f"n{number}", float(age), size, 20) for age in range(1, 18)]
    driver, replaced = watching.compared(samples, ("driver",), 180.0)
    assert driver.growth[0] == pytest.approx(0.084, abs=0.001) and not driver.fine
    assert replaced.who == "replaced daemons" and replaced.growth == pytest.approx((0.25, 0.0))


def test_a_soak_without_faults_does_nothing_of_any_kind() -> None:
    none = Rates().times(0.0)
    assert [getattr(none, kind) for kind in Rates.__struct_fields__ if kind.startswith(("kill", "stop"))] == [
        0.0
    ] * 5


def test_a_failing_round_says_how_to_have_it_again(tmp_path) -> None:
    plan = Plan(60.0, seed=7, nodes=2)
    found = Found(rounds=5, seconds=30.0, failures=[Failure(4, "hang", "step 3")])
    text = summary.words(
        plan, found, Study(tmp_path, "python -m experiments.soak", Provenance("abc", "", "a machine", "now"))
    )
    assert "NOT FINE" in text and "Round 4: hang" in text
    assert "--seed 7 --nodes 2 --scheduler bottom_up --threads 2 --round 4" in text


# ---------------------------------------------------------------- nothing goes wrong


@pytest.mark.processes
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_healthy_program_has_its_values_on_a_healthy_session(name: str) -> None:
    labray.init("cluster", num_cpus=2)
    tally: Counter[str] = Counter()
    PROGRAMS[name](Random(3), tally)
    assert tally["value"] > 0 and set(tally) <= {"value", "TaskCancelledError"}


@pytest.mark.processes
def test_a_healthy_soak_counts_what_it_saw_and_says_what_was_wrong() -> None:
    plan = healthy.Calm(4.0, seed=5, cpus=(1, 2))
    seen = healthy.soak(plan, lambda seen, left: None)
    assert not seen.failures and set(seen.rounds) <= {1, 2} and seen.endings["value"] > 0
    assert healthy.drawn(plan, 3, 0)[0] == healthy.drawn(plan, 3, 0)[0]
    seen.failures.append(Failure(3, "wrong", "another order"))
    text = healthy.words(plan, seen, "python -m experiments.soak --healthy")
    assert "NOT FINE" in text and "another order" in text and "--seed 5 --round 3" in text


def test_a_healthy_program_that_gets_something_else_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    labray.init("inline")
    monkeypatch.setattr(labray, "get", lambda refs, timeout=None: 0)
    told: list[Failure] = []
    healthy._run("nested", Random(1), Counter(), 4, told)
    assert [failure.kind for failure in told] == ["wrong"]


# ---------------------------------------------------------------- things die


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.processes
def test_under_fire_every_result_is_a_value_or_an_error_that_is_explained_and_nothing_is_left() -> None:
    found = Soak(Plan(20.0, seed=1, rates=Rates(40.0, 10.0, 10.0, 5.0)), lambda found, left: None).run()
    assert not found.failures, "\n\n".join(f"round {f.round}: {f.kind}: {f.text}" for f in found.failures)
    assert found.rounds > 0 and found.endings["value"] > 0 and sum(found.deeds.values()) > 0
