"""What the fuzzer found where stores are small, each with its seed."""

from __future__ import annotations

from labray import fuzz
from labray.faults import Crash, Death, Delay, Faults, Mtbf
from labray.fuzz.program import Step
from labray.fuzz.remote import LARGE_BYTES
from tests.kit.fuzzing import goes_well

ONE = LARGE_BYTES * 11 // 10
"""Bytes: a store that holds one large value."""
GIVEN_UP = (
    "["
    '{"number":0,"op":"put","value":7},{"number":1,"op":"pair"},'
    '{"number":2,"op":"cancel","args":[1],"value":7},{"number":3,"op":"actor","how":"placed or found ann"},'
    '{"number":4,"op":"leaf","value":6,"large":true,"seconds":0.01,"retries":0,"how":"soft n3"},'
    '{"number":5,"op":"nest","value":8,"tree":[3,1]},{"number":6,"op":"add","args":[2,3],"value":2},'
    '{"number":7,"op":"nap","value":1,"large":true,"seconds":0.5},'
    '{"number":8,"op":"leaf","value":1,"large":true,"retries":2,"how":"hard n3"},'
    '{"number":9,"op":"use","args":[4],"actor":3,"value":1},{"number":10,"op":"flaky","value":9},'
    '{"number":11,"op":"wait","args":[1,2,1007],"value":4,"large":true,"seconds":0.001},'
    '{"number":12,"op":"keep","args":[4],"actor":3,"value":5},{"number":13,"op":"put","value":8,"large":true},'
    '{"number":14,"op":"pair","value":9},{"number":15,"op":"add","value":4},'
    '{"number":16,"op":"use","args":[0],"actor":3,"value":4},'
    '{"number":17,"op":"wait","args":[0,2],"value":7,"seconds":0.01},'
    '{"number":18,"op":"meet","value":1,"large":true,"how":"ann"},{"number":19,"op":"carry","value":9},'
    '{"number":20,"op":"nest","value":3,"large":true,"tree":[1,2]},'
    '{"number":21,"op":"drop","args":[8],"value":9},{"number":22,"op":"leaf","value":9}'
    "]"
)


def test_a_cancel_does_not_end_the_wait_for_room_for_a_result():
    """Seed 1001641: the simulated worker woke, and took no answer for one."""
    goes_well(
        Step(2, "add", value=9, large=True, retries=0),
        Step(4, "put", value=4, large=True),
        Step(8, "cancel", (2,), value=1),
        faults=Faults((Death("n1", 0.0135),), notice=0.05),
        seed=1001641,
        nodes=2,
        object_store_memory=ONE,
    )


def test_calls_that_wait_in_an_actors_process_do_not_keep_the_memory_that_the_one_before_them_needs():
    """Seed 1006180: their arguments were pinned there, and the result of the call that ran found no room."""
    goes_well(
        Step(0, "actor"),
        Step(10, "add", large=True),
        Step(11, "sleep", value=8, seconds=0.05),
        Step(16, "call", actor=0, value=3, large=True),
        Step(18, "call", (10,), actor=0, value=8),
        Step(26, "wait", (16,), value=2, seconds=-1.0),
        seed=1006180,
        object_store_memory=ONE,
    )


def test_nor_that_of_a_task_that_makes_more_calls():
    """Seed 1005500. The simulator said that nothing could happen any more before the node had given up waiting."""
    goes_well(
        Step(0, "actor", retries=1, how="slot new ann"),
        Step(4, "put", value=9, large=True),
        Step(5, "use", (4,), actor=0, value=6),
        Step(6, "find", value=1, how="bob"),
        Step(18, "kill", actor=0, value=9, how="restart"),
        Step(23, "call", actor=0, value=4, large=True),
        faults=Faults(notice=0.001),
        seed=1005500,
        scheduler="centralized",
        head="own",
        object_store_memory=ONE,
    )


def test_what_a_process_had_stored_and_not_told_goes_with_it_though_it_told_of_something_else():
    """Seed 1007186: the simulated store kept the block to the end."""
    goes_well(
        Step(0, "actor", retries=1, how="placed new ann"),
        Step(1, "patient", value=8),
        Step(2, "kept", actor=0, value=2),
        Step(13, "call", actor=0, value=6, large=True),
        Step(16, "add", value=6, retries=0),
        Step(17, "call", actor=0),
        faults=Faults(crashes=(Crash("n0", 6),), notice=0.0),
        seed=1007186,
        num_cpus=2,
        profile="default",
    )


def test_a_copy_that_is_told_of_after_its_object_was_lost_is_let_go_of():
    """Seed 1009716: its owner had none any more, took no notice, and the copy stayed."""
    goes_well(
        Step(0, "leaf", value=6, large=True, how="hard n1"),
        Step(1, "spawn", value=4),
        Step(2, "leaf", value=9, retries=1),
        Step(3, "wait", (2,), value=7, seconds=0.01),
        Step(13, "add", (0,)),
        Step(29, "leaf", large=True, retries=0, how="soft n0"),
        faults=Faults((Death("n1", 0.0252),), delays=(Delay("n2", "n0", 0.1167, 0.0, 1.0, 0.3),), notice=0.0),
        seed=1009716,
        nodes=3,
        scheduler="random",
        object_store_memory=ONE,
    )


def test_a_task_whose_argument_left_memory_and_was_then_lost_ends_in_that_error():
    """Seed 1011908: it was ready, and was sent to a worker without it."""
    goes_well(
        Step(0, "actor", how="placed"),
        Step(2, "add", value=5, large=True, retries=0),
        Step(3, "pair", value=6, large=True),
        Step(9, "add", (2,)),
        Step(10, "add", value=9),
        Step(12, "leaf", value=1, seconds=0.01, retries=0),
        Step(14, "nest", value=7, tree=(3, 2)),
        Step(17, "patient", value=4),
        faults=Faults((Death("n1", 0.0098),), notice=0.001),
        seed=1011908,
        nodes=2,
        num_cpus=3,
        scheduler="lookahead",
        profile="default",
        object_store_memory=ONE,
    )


def test_a_put_value_is_not_left_to_a_copy_that_may_die():
    """Seed 1003603: its owner dropped it, since another place had it, and that place was lost."""
    goes_well(
        Step(0, "actor", how="or found ann"),
        Step(1, "actor", retries=1, how="placed"),
        Step(5, "add", value=9, large=True, retries=1),
        Step(9, "carry", value=6),
        faults=Faults(mtbf=Mtbf(0.05, 0.001, 0.3), notice=0.0, seed=691),
        seed=1003603,
        nodes=4,
        scheduler="least_loaded",
        profile="default",
        host_cores=2,
        object_store_memory=ONE,
    )


def test_calls_that_come_back_when_the_one_before_them_has_ended_are_sent_again():
    """Seed 3006177: nobody looked at them any more."""
    goes_well(
        Step(0, "actor", retries=0, how="slot new ann"),
        Step(2, "add", value=3, retries=0),
        Step(3, "add", (2,), large=True),
        Step(5, "call", actor=0, value=9, large=True),
        Step(10, "use", (5,), actor=0, value=3),
        Step(15, "call", actor=0, value=3, large=True),
        faults=Faults(notice=0.001),
        seed=3006177,
        num_cpus=3,
        scheduler="centralized",
        profile="default",
        object_store_memory=LARGE_BYTES * 6,
    )


def test_what_a_get_has_already_makes_way_for_what_is_needed_to_make_the_rest():
    """Seed 3009465: the one large value there was room for was kept for a get that waited for another task."""
    goes_well(
        Step(3, "leaf", value=5, large=True, seconds=0.01),
        Step(6, "carry", value=8),
        Step(11, "spawn", (6,), value=7, large=True),
        Step(16, "add", (11,), value=8, retries=2),
        faults=Faults(crashes=(Crash("n0/w0", 1),), notice=0.05),
        seed=3009465,
        num_cpus=2,
        scheduler="heft",
        profile="default",
        host_cores=2,
        object_store_memory=ONE,
    )


def test_a_copy_that_comes_where_a_lost_attempt_left_one_is_a_second_block():
    """Seed 10012483: it was not wanted, and with it went the one that was there."""
    goes_well(
        Step(1, "leaf", value=5, seconds=0.01, retries=2, how="node n0"),
        Step(3, "add", value=5),
        Step(6, "spawn", value=6, how="fat"),
        Step(16, "nap", value=9, retries=1),
        Step(21, "add", (6,), value=7),
        faults=Faults((Death("head", 0.0152, 0.0004),), delays=(Delay("n0", "n1", 0.1, 0.0, 1.0, 0.3),)),
        seed=10012483,
        nodes=2,
        head="own",
        max_workers=1,
    )


def test_a_copy_that_an_attempt_which_was_given_up_still_holds_goes_when_that_ends():
    """Seed 6000266: its owner let go of it meanwhile, and said so once."""
    case = fuzz.read(
        '{"seed":6000266,"setup":{"nodes":4,"scheduler":"least_loaded","profile":"default","host_cores":2,"head":"own",'
        '"object_store_memory":525000},"steps":STEPS,"faults":{"deaths":[{"node":"head","at":0.0098,"back":0.0011}],'
        '"notice":0.001,"spread":0.0,"seed":0}}'.replace("STEPS", GIVEN_UP)
    )
    assert fuzz.verdict(case) is None


def test_an_answer_that_comes_too_late_gives_its_room_back_to_who_waits_for_the_next():
    """Seed 10011282: the driver kept the view that a get had given up on, and asked for what had room there only."""
    goes_well(
        Step(0, "actor", how="placed"),
        Step(1, "actor"),
        Step(2, "put", value=9),
        Step(4, "leaf", value=2, large=True),
        Step(7, "call", actor=0, value=3, large=True),
        Step(9, "get", (2,)),
        Step(14, "get", (7,), value=6, seconds=0.001),
        seed=10011282,
        nodes=2,
        num_cpus=3,
        scheduler="peft",
        profile="default",
        host_cores=2,
        object_store_memory=ONE,
    )
