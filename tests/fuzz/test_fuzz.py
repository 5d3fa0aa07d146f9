"""The fuzzer: cases are values, they run from their seed, a failing one is cut down to a command that repeats it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from labray import fuzz
from labray.cli import main
from labray.faults import Crash, Death, Delay, Faults, Mtbf
from labray.fuzz.coverage import table
from labray.fuzz.expected_results import NONE, Dangers, Promise
from labray.fuzz.generation import Case, Setup
from labray.fuzz.judging import Wrong, judge_trace, nothing_left
from labray.fuzz.oracle import Oracle
from labray.fuzz.program import OPS, SECOND, UNLIMITED, Step
from labray.fuzz.shrink import shrink
from labray.ids import HEAD
from labray.schedulers import NAMES
from labray.trace import digest
from tests.kit.fuzzing import goes_well

LIVELOCK = Case(
    30,
    Setup(nodes=3, num_cpus=3),
    (
        Step(22, "leaf", value=8, seconds=0.001),
        Step(25, "sleep", value=2, seconds=0.01),
        Step(30, "nest", value=1, tree=(2, 2)),
    ),
)
LEAK = Case(
    10,
    Setup(nodes=4, scheduler="random", latency_s=50e-6, bandwidth_Bps=1e7),
    (Step(0, "nest", value=1, large=True, tree=(2, 1)),),
    Faults(deaths=(Death("n3", 0.0103),), notice=0.05),
)


@pytest.mark.parametrize("seed", range(25))
def test_a_random_case_goes_well(seed):
    found = fuzz.verdict(fuzz.case_of(seed))
    assert found is None, found[1]


@pytest.fixture(scope="module")
def swept():
    told: list[str] = []
    summary = fuzz.fuzz(range(300), shrinking=False, tell=told.append)
    assert told == []
    return summary


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_three_hundred_seeds_reach_every_operation_policy_fault_and_outcome(swept):
    missing = [op for op in OPS if not swept.tally.get(f"op {op}")]
    missing += [policy for policy in NAMES if not swept.tally.get(f"policy {policy}")]
    for kind in (
        "node died",
        "returned node died",
        "worker killed",
        "cuts",
        "delays",
        "slow",
        "stragglers",
        "mtbf",
    ):
        missing += [kind] if not swept.tally.get(f"fault {kind}") else []
    for kind in (
        "value", "worker crashed", "cancelled", "unschedulable", "actor died", "asked", "timeout", "object lost",
        "owner died", "name taken", "no such actor", "session ended", "store full",
    ):  # fmt: skip
        missing += [kind] if not swept.tally.get(f"outcome {kind}") else []
    for kind in ("spilled", "restored", "evicted", "refused"):
        missing += [kind] if not swept.tally.get(f"storage {kind}") else []
    for kind in ("retried", "recalled", "moved", "gave_up", "actor restarting"):
        missing += [kind] if not swept.tally.get(f"recovery {kind}") else []
    assert missing == []


def test_what_was_covered_is_told_by_group_the_most_frequent_first():
    told = table({"op leaf": 3, "op add": 5, "fault node died": 1, "policy heft": 0})
    assert told.splitlines() == ["op        add 5, leaf 3", "policy    heft 0", "fault     node died 1"]


def test_the_same_case_leaves_the_same_trace():
    case = fuzz.case_of(7)
    assert digest(fuzz.run(case)) == digest(fuzz.run(case))


@pytest.mark.processes
def test_a_case_does_not_depend_on_how_strings_are_hashed():
    program = (
        "from labray import fuzz, trace; "
        "print([trace.digest(fuzz.run(fuzz.case_of(seed))) for seed in (5, 7, 8, 9)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "77")
    }
    assert len(outputs) == 1


# ---------------------------------------------------------------- what must come of a program


def promises(*steps: Step, dangers: Dangers = Dangers(), room: int = UNLIMITED) -> dict[int, Promise]:  # noqa: B008
    oracle = Oracle(steps, dangers, room)
    for step in steps:
        if step.op not in ("actor", "drop", "cancel", "kill", "crash_actor"):
            oracle.note(step, [at for at in step.args if at in oracle.promised])
    return oracle.promised


def test_what_a_sturdy_program_must_give_is_known_beforehand():
    deadly = Dangers(frozenset(("n1",)), True)
    steps = (
        Step(0, "leaf", value=3),
        Step(1, "nest", value=1, tree=(2,)),  # leaf 1, and two children of 1 and 2
        Step(2, "add", (0, 1)),
        Step(3, "pair", value=5),
        Step(6, "add", (0, 1, 9, 3 + SECOND)),
    )
    found = promises(*steps, dangers=deadly)
    assert {at: promise.value for at, promise in found.items()} == {0: 3, 1: 4, 2: 7, 3: 5, 1003: 6, 6: 13}
    assert {promise.may for promise in found.values()} == {NONE}


def test_who_may_not_be_retried_for_ever_may_be_lost_where_something_is_lost():
    steps = (Step(0, "leaf", value=3, retries=1, large=True), Step(1, "add", (0,)), Step(2, "leaf", value=1))
    assert {promise.may for promise in promises(*steps).values()} == {NONE}
    found = promises(*steps, dangers=Dangers(frozenset(("n1",)), True))
    assert found[0].may == found[1].may == {"worker crashed", "object lost"}
    assert found[2].may == NONE


def test_what_needs_a_task_that_must_fail_must_fail():
    found = promises(Step(0, "crash"), Step(1, "leaf"), Step(2, "add", (0, 1)))
    assert found[2] == Promise(None, frozenset(("worker crashed",)), True)


def test_what_raises_more_often_than_it_may_be_retried_may_succeed_where_the_head_is_lost():
    """Seeds 5956, 6183 and 7939: an attempt that is lost with the head counts, and uses up no retry."""
    flaky, headless = Step(0, "flaky", value=2, retries=1), Dangers(frozenset((HEAD,)), True)
    assert promises(flaky)[0] == Promise(None, frozenset(("asked",)), True)
    assert promises(flaky, dangers=headless)[0] == Promise(2, frozenset(("asked", "worker crashed")))
    assert promises(replace(flaky, retries=0), dangers=headless)[0].fails


def test_an_actor_that_nothing_befalls_gives_each_caller_the_sum_of_its_values():
    steps = (
        Step(0, "actor"), Step(1, "call", actor=0, value=3), Step(2, "use", actor=0, value=5),
        Step(3, "call", (1,), actor=0),
    )  # fmt: skip
    found = promises(*steps)
    assert [found[at].value for at in (1, 2, 3)] == [3, 15, 6]
    assert promises(*steps, Step(4, "kill", actor=0))[3] == Promise(
        None, frozenset(("actor died", "actor unavailable"))
    )


def test_what_befalls_an_actor_befalls_it_under_all_its_handles():
    """Seed 507475: the fuzzer's own mistake."""
    found = promises(
        Step(1, "actor", large=True, how="new bob"), Step(6, "actor", how="or found bob"),
        Step(29, "crash_actor", actor=6), Step(31, "call", actor=1, value=6),
    )  # fmt: skip
    assert found[31].value is None


def test_what_never_fits_into_a_store_must_fail_and_what_fits_alone_must_not():
    steps = (
        Step(0, "leaf", value=3, large=True), Step(1, "put", value=4, large=True), Step(2, "add", (0,), large=True),
        Step(3, "add", (0, 1)), Step(4, "nest", value=1, large=True, tree=(1,)), Step(5, "leaf", value=1),
    )  # fmt: skip
    full = frozenset(("store full",))
    found = promises(*steps, room=1)
    assert [found[at].may for at in range(6)] == [NONE, NONE, NONE, full, NONE, NONE]
    assert not any(promise.fails for promise in found.values())
    found = promises(*steps, room=0)
    assert [found[at].fails for at in range(6)] == [True, True, True, True, True, False]
    assert found[0].may == full


def test_an_actor_that_could_not_be_made_may_be_anothers_that_was_found():
    """Seed 4000919: the fuzzer's own mistake."""
    found = promises(
        Step(0, "actor", how="slot or found ann"), Step(1, "actor", how="infeasible or found ann"),
        Step(2, "call", actor=1), dangers=Dangers(NONE, True),
    )  # fmt: skip
    assert {"actor died", "actor unavailable", "unschedulable"} <= found[2].may


def test_cancelling_explains_an_error_of_the_task_and_of_what_needs_it():
    found = promises(Step(0, "leaf", value=2), Step(1, "add", (0,)), Step(2, "leaf"), Step(3, "cancel", (0,)))
    assert found[0].may == found[1].may == {"cancelled"}
    assert found[2].may == NONE


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([("ran", ("w", 0)), ("ran", ("w", 0))], "ran twice"),
        ([("ran", ("w", 0)), ("finished", 0), ("finished", 0)], "ended twice"),
        ([("ran", ("w", 0)), ("retried", 1), ("finished", 1)], "never ran"),
        ([("failed", "worker_crashed"), ("finished", 0)], "ended again"),
        ([("failed", "cancelled"), ("retried", 1)], "retried after it had failed"),
        ([("retried", 1), ("retried", 2), ("retried", 3)], "may be retried 2 times"),
        (
            [("dispatched", "w"), ("retried", 1), ("dispatched", "w"), ("failed", "worker_crashed")],
            "failed in attempt 1",
        ),
    ],
)
def test_a_trace_in_which_a_task_ends_wrongly_is_found(events, words):
    submitted = (0.0, "submitted", "n0", "d-0", ("leaf r2", "task", "d", (), "", None))
    with pytest.raises(Wrong, match=words):
        judge_trace([submitted, *((0.0, kind, "n0", "d-0", detail) for kind, detail in events)])


def test_a_trace_in_which_a_cancelled_task_is_retried_is_found():
    submitted = (0.0, "submitted", "n0", "d-0", ("leaf r2", "task", "d", (), "", None))
    retried = (2.0, "retried", "n0", "d-0", 1)
    judge_trace([submitted, retried], {"d-0": 3.0})
    with pytest.raises(Wrong, match="cancelled"):
        judge_trace([submitted, retried], {"d-0": 1.0})


def test_a_trace_in_which_a_cancelled_task_sleeps_on_is_found():
    ran, finished = (2.0, "ran", "n0", "d-0", ("w", 0)), (2.0, "finished", "n0", "d-0", 0)
    judge_trace([ran, finished], asleep={"d-0": 3.0})
    with pytest.raises(Wrong, match="slept on"):
        judge_trace([ran, finished], asleep={"d-0": 1.0})


# ---------------------------------------------------------------- cutting down, and the command line


def test_a_case_is_cut_down_to_what_makes_it_fail():
    case = fuzz.case_of(3)
    culprit = case.steps[len(case.steps) // 2]
    small = shrink(case, lambda c: any(step.number == culprit.number for step in c.steps))
    assert [step.number for step in small.steps] == [culprit.number]
    assert small.faults == Faults()
    assert small.setup.nodes == 1


def test_the_command_of_a_cut_down_case_runs_it_again():
    case = replace(LEAK, steps=(Step(0, "leaf", value=1),))
    words = shlex.split(fuzz.command(case))
    assert words[:3] == ["labray", "fuzz", "--case"]
    assert fuzz.read(words[3]) == case
    result = CliRunner().invoke(main, words[1:])
    assert (result.exit_code, result.output) == (0, "this case runs well.\n")


def test_the_command_of_a_whole_case_is_its_seed():
    assert fuzz.command(fuzz.case_of(5)) == "labray fuzz --seeds 5"


def test_a_sweep_says_how_many_seeds_it_ran():
    result = CliRunner().invoke(main, ["fuzz", "--seeds", "0:3"])
    assert result.exit_code == 0
    assert result.output.startswith("3 seeds in ")
    assert "0 failed.\nop " in result.output
    assert "\noutcome   value " in result.output


@pytest.mark.parametrize("words", [["--seeds", "a:b"], ["--case", "{}"], ["--case", "no"]])
def test_bad_arguments_are_refused(words):
    assert CliRunner().invoke(main, ["fuzz", *words]).exit_code == 2


def test_a_wrong_value_is_found():
    case = Case(0, Setup(), (Step(0, "put", value=1),))
    assert fuzz.verdict(case) is None
    kind, text = fuzz.verdict(replace(case, setup=replace(case.setup, scheduler="nobody"))) or ("", "")
    assert kind.startswith("ValueError")
    assert "nobody" in text


# ---------------------------------------------------------------- bugs that it found, each with its seed


def test_seed_30_idle_processes_without_a_free_cpu_take_nothing_over():
    """Pool.rest recalled half a pipe for an idle process, and dispatch put it back into the same pipe, for ever."""
    assert fuzz.verdict(LIVELOCK) is None


def test_seed_10_a_copy_goes_when_its_owner_is_dead_and_nobody_needs_it():
    """Locations kept local copies whose owner had died: no FreeCopy will ever come."""
    assert fuzz.verdict(LEAK) is None


def test_an_actor_whose_last_handle_goes_with_its_last_call_at_a_lost_node_is_gone_once():
    """Seed 211963."""
    goes_well(
        Step(0, "actor", retries=1),
        Step(5, "crash_actor", actor=0, value=5),
        Step(7, "add", value=9),
        Step(8, "call", actor=0, value=7),
        Step(9, "drop", (8,)),
        faults=Faults(
            (Death("n1", 0.0139),), delays=(Delay("n1", "n0", 0.0124, 0.0, 1.0, 0.3),), notice=0.05, seed=801
        ),
        seed=211963,
        nodes=2,
        scheduler="random",
        profile="default",
    )


@pytest.mark.parametrize("step", ["put", "crash"])
def test_an_actor_killed_while_its_creation_is_on_its_way_back_is_not_made_after_all(step):
    """Seeds 204693 and 302811: the creation came back to its owner, who took it for another place's."""
    goes_well(
        Step(0, "actor", retries=1),
        Step(4, step, value=7, retries=1),
        Step(5, "kill", actor=0),
        seed=204693,
        nodes=2,
        profile="default",
    )


def test_what_only_a_lost_node_could_run_is_named_and_does_not_wait():
    """Seeds 35 and 228: a request for `node:n1`, or an affinity, waited for ever at the head."""
    for how in ("node n1", "hard n1"):
        goes_well(
            Step(3, "leaf", value=9, seconds=0.01, retries=1, how=how),
            faults=Faults((Death("n1", 0.0046),), notice=0.0),
            nodes=2,
            scheduler="centralized",
        )


def test_a_task_that_would_rather_run_on_a_lost_node_runs_elsewhere():
    """Seed 352: Centralized left it in the line of that node."""
    goes_well(
        Step(12, "leaf", value=4, seconds=0.01, how="soft n1"),
        faults=Faults((Death("n1", 0.0111),), notice=0.001),
        nodes=2,
        scheduler="centralized",
        profile="default",
    )


def test_an_actor_let_go_of_while_it_is_restarted_is_forgotten():
    """Seed 3: its owner remembered it for ever."""
    goes_well(Step(0, "actor", retries=1), Step(5, "crash_actor", actor=0), scheduler="single")


def test_an_actor_that_is_about_to_start_need_not_be_restarted():
    """Seed 84: kill(no_restart=False) submitted the creation that was waiting a second time."""
    goes_well(Step(1, "actor"), Step(7, "kill", actor=1, how="restart"), profile="default")


def test_an_actor_may_be_found_by_its_name_before_its_owner_has_heard_of_it():
    """Seed 24: the name is asked for before the actor is submitted; what found it meanwhile was not counted."""
    goes_well(
        Step(6, "nest", value=4),
        Step(8, "meet", how="bob"),
        Step(9, "actor", retries=0, how="or found bob"),
        faults=Faults(notice=0.001),
        seed=24,
    )


def test_a_call_to_an_actor_that_has_just_gone_out_of_scope_is_told_so():
    """Seed 100465: its place remembered it as one that is being restarted."""
    goes_well(
        Step(3, "meet", how="bob"),
        Step(4, "meet", how="bob"),
        seed=100465,
        scheduler="round_robin",
        head="own",
    )


def test_the_head_hears_that_a_constructor_died_and_its_cpu_is_free_again():
    """Seed 627: nothing told the agents."""
    goes_well(
        Step(1, "actor", retries=1, how="placed new bob"),
        Step(2, "call", actor=1, value=3),
        faults=Faults(crashes=(Crash("n0/w0", 1),)),
        scheduler="centralized",
    )


def test_a_large_result_comes_back_though_a_small_one_of_the_same_task_was_let_go():
    """Seed 100168: the small one counted as the last that needed its origin."""
    goes_well(
        Step(0, "add", large=True, retries=2),
        Step(1, "add"),
        Step(4, "pair", value=4, large=True),
        Step(9, "wait", (1,), seconds=0.001),
        Step(10, "drop", (1004,)),
        Step(11, "add"),
        faults=Faults(
            (Death("n3", 0.0352),), delays=(Delay("n1", "n0", 0.0256, 0.0, 1.0, 0.3),), notice=0.0, seed=681
        ),
        seed=100168,
        nodes=4,
        scheduler="random",
        profile="default",
    )


def test_a_ref_whose_owner_was_lost_before_it_came_ends_in_an_error():
    """Seed 101226: a node that had joined later asked the dead owner for news of it."""
    goes_well(
        Step(0, "actor", how="placed or found bob"),
        Step(2, "leaf", retries=1, how="spread"),
        Step(6, "nap", value=1, seconds=0.5),
        Step(7, "spawn", value=7),
        Step(8, "wait", (6,), seconds=-1.0),
        Step(10, "add", (7,), retries=2),
        faults=Faults(mtbf=Mtbf(0.2, 0.001, 0.3), notice=0.001, seed=124),
        seed=101226,
        nodes=4,
        scheduler="random",
    )


def test_an_answer_that_comes_too_late_to_a_worker_that_then_rests_holds_nothing():
    """Seed 102470: the view that it brought was given back with the next question, which never came."""
    goes_well(
        Step(5, "leaf", value=3, large=True, retries=2),
        Step(6, "pair", value=6),
        Step(8, "nest", value=3, tree=(3,)),
        Step(9, "leaf", value=7, seconds=0.01, retries=1),
        Step(10, "leaf", value=3, seconds=0.05, retries=0),
        Step(11, "patient", (5,), value=2, seconds=0.001),
        seed=102470,
        nodes=4,
        num_cpus=3,
        scheduler="hlfet",
        profile="default",
        host_cores=2,
    )


def test_what_is_let_go_of_while_a_loss_is_told_is_let_go_of_once():
    """Seed 331: the object that was inside a lost value was looked at again after it had gone."""
    goes_well(
        Step(9, "add"),
        Step(20, "spawn", value=7, large=True, how="fat"),
        Step(27, "sleep", seconds=0.05),
        faults=Faults(mtbf=Mtbf(0.05, 0.05, 0.3), notice=0.0),
        seed=331,
        nodes=2,
        scheduler="centralized",
    )


def test_a_sleeper_that_is_cancelled_twice_wakes_once():
    """Seed 206: it was woken for each cancel, and so went on in the middle of what came next."""
    goes_well(
        Step(2, "leaf", value=5),
        Step(3, "nap", value=1, seconds=0.0),
        Step(6, "actor", how="new bob"),
        Step(12, "actor", retries=0, how="or found ann"),
        Step(18, "cancel", (3,)),
        Step(28, "cancel", (3,), how="flat"),
        seed=206,
        nodes=3,
        scheduler="power_of_d",
        head="own",
    )


def test_a_cancel_that_comes_when_the_body_has_ended_is_not_the_next_tasks():
    """Seed 402192: the simulated worker kept the interrupt for whatever it ran next."""
    goes_well(
        Step(0, "add", large=True),
        Step(1, "sleep"),
        Step(2, "cancel", (0,)),
        Step(4, "add"),
        seed=402192,
        scheduler="centralized",
        profile="default",
    )


def test_an_actor_whose_owner_is_lost_before_its_creation_has_come_is_not_made():
    """Seed 201653: it was passed on by who had not heard of the loss, and nobody was left to end it."""
    goes_well(
        Step(4, "crash", value=2, retries=2),
        Step(5, "add", value=6),
        Step(6, "leaf", value=7, how="spread"),
        Step(14, "meet", value=5, how="bob"),
        faults=Faults(
            (Death("n2", 0.0039),), delays=(Delay("n0", "n1", 0.0519, 0.0, 1.0, 0.3),), notice=0.0, seed=693
        ),
        seed=201653,
        nodes=3,
        scheduler="least_loaded",
    )


def test_a_task_that_raises_twice_and_may_be_retried_once_succeeds_if_its_first_attempt_went_with_the_head():
    """The family of seeds 5956, 6183 and 7939: the oracle said that it must fail."""
    goes_well(
        Step(0, "flaky", value=2, retries=1),
        faults=Faults((Death("head", 0.0001, 0.01),), notice=0.001),
        scheduler="centralized",
        profile="default",
        latency_s=1e-3,
        head="own",
    )


def test_a_ref_that_was_lost_on_its_way_with_who_passed_it_on_is_not_counted():
    """Seed 200355: a copy was on its way when its holder died, who had told the owner of a ref inside it."""
    case = Case(
        200355,
        Setup(nodes=3, scheduler="round_robin", bandwidth_Bps=1e7),
        (
            Step(7, "nap", value=9), Step(8, "spawn", (7,), value=6, how="fat"), Step(10, "add", value=9),
            Step(11, "nest", value=7), Step(16, "add", value=3), Step(17, "add", (8,), value=8, retries=2),
            Step(24, "spawn", value=1),
        ),
        Faults(
            (Death("n2", 0.0427), Death("n1", 0.0028, 0.0179)),
            delays=(Delay("n0", "n2", 0.0298, 0.0, 1.0, 0.3),), notice=0.001, seed=925,
        ),
    )  # fmt: skip
    assert fuzz.verdict(case) is None


def test_a_block_that_is_left_in_a_store_is_found():
    world = lends_without_need({"n2": None})
    del world.every_node()[0].objects.records["d-0.0"]
    world.daemons["n1"].copies.memory["d-1.0"] = None
    with pytest.raises(Wrong, match="n1 still has in memory"):
        nothing_left(world)


def test_a_wait_for_two_is_not_answered_with_one_because_the_other_was_lost_again():
    """Seed 3003571: who had come counted, though it went while the rest was awaited."""
    goes_well(
        Step(4, "leaf", value=4, retries=0),
        Step(7, "leaf", value=2, seconds=0.05, how="slot"),
        Step(8, "spawn", value=8),
        Step(12, "add", value=8, retries=0),
        Step(14, "leaf", value=5, large=True, retries=1),
        Step(19, "leaf", value=4, seconds=0.05, how="node n1"),
        Step(27, "wait", (14, 19), value=5, seconds=-1.0),
        faults=Faults((Death("n1", 0.1015),), notice=0.0),
        seed=3003571,
        nodes=3,
        scheduler="dls",
        profile="default",
    )


def test_an_actor_whose_handle_was_lost_on_its_way_with_who_passed_it_on_goes_too():
    """Seed 3011111: the head had told the owner that it lent the handle, and died before the task arrived."""
    goes_well(
        Step(0, "actor", retries=1, how="placed"),
        Step(1, "actor"),
        Step(4, "leaf", value=1, retries=1),
        Step(5, "nest", value=1),
        Step(6, "add", value=1, retries=2),
        Step(7, "use", actor=1, value=5),
        faults=Faults(
            (Death("head", 0.009, 0.0311),), delays=(Delay("head", "n2", 0.1, 0.0, 1.0, 0.3),), notice=0.001
        ),
        seed=3011111,
        nodes=3,
        num_cpus=2,
        scheduler="b_level",
        head="own",
    )


def test_what_was_meant_for_the_lost_head_does_not_reach_the_next():
    """Seed 10006922: it was said by who had not read of the loss, and its loan was given back as one of the next."""
    goes_well(
        Step(2, "add", value=3, retries=0),
        Step(3, "meet", value=3, how="bob"),
        Step(4, "leaf", value=6, seconds=0.01, retries=2),
        Step(6, "sleep", value=1, seconds=0.001),
        Step(9, "leaf", value=5, retries=2, how="node n3"),
        Step(11, "add", value=2),
        Step(12, "leaf", seconds=0.01, retries=2),
        Step(13, "leaf", value=6, seconds=0.001, how="slot"),
        Step(14, "meet", value=3, how="ann"),
        Step(15, "crash", value=1, retries=0),
        Step(16, "remade", value=9, how="soft n3"),
        Step(17, "patient", (1010,), value=4, large=True, seconds=0.05),
        Step(18, "cancel", (17,), value=5, how="force flat"),
        Step(20, "patient", (4,), value=8, seconds=0.05),
        faults=Faults((Death("head", 0.0199, 0.0043),)),
        seed=10006922,
        nodes=4,
        num_cpus=3,
        scheduler="least_loaded",
        profile="default",
        host_cores=2,
        head="own",
    )


def lends_without_need(losses: dict[str, None]) -> SimpleNamespace:
    """A world in which n0 counts a loan that n1 does not have."""
    lent = SimpleNamespace(id="d-0.0", loans={"n1": 1}, holds=0, refs=tuple)
    records = ({"d-0.0": lent, "d-p0": SimpleNamespace(id="d-p0", loans=None, holds=1)}, {})
    nodes = [
        SimpleNamespace(
            place=f"n{at}", context=SimpleNamespace(dead=losses, heads=0), objects=SimpleNamespace(records=held),
            pool=SimpleNamespace(resources=SimpleNamespace(free={}, totals={})), submission=SimpleNamespace(tasks={}),
            lifecycle=SimpleNamespace(owned={}), hosting=SimpleNamespace(here={}), registry=SimpleNamespace(names={}),
            lineage=SimpleNamespace(origins={}), store=empty_store(), clients=SimpleNamespace(clients={}),
        )
        for at, held in enumerate(records)
    ]  # fmt: skip
    stores = {node.place: SimpleNamespace(copies=SimpleNamespace(memory={}, files={})) for node in nodes}
    return SimpleNamespace(every_node=lambda: nodes, daemons=stores)


def empty_store() -> SimpleNamespace:
    account = SimpleNamespace(held={}, promised={})
    return SimpleNamespace(account=account, rooms={}, fetches={}, leaving=lambda: 0, restoring={})


def test_a_loan_that_nobody_has_is_a_leak_though_somebody_died():
    with pytest.raises(Wrong, match=r"n0 still has d-0\.0"):
        nothing_left(lends_without_need({"n2": None}))
