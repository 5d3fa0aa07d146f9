"""The fuzzer: cases are values, they run from their seed, a failing one is cut down to a command that repeats it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from labray import fuzz
from labray.cli import main
from labray.faults import Death, Faults
from labray.fuzz.case import Case, Setup
from labray.fuzz.program import Step, expected
from labray.fuzz.shrink import shrink

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


@pytest.mark.parametrize("seed", [seed for seed in range(25) if seed != 10])  # 10 has a test of its own
def test_a_random_case_goes_well(seed):
    assert fuzz.verdict(fuzz.case_of(seed)) is None


def test_the_same_case_leaves_the_same_trace():
    case = fuzz.case_of(7)
    assert fuzz.run(case) == fuzz.run(case)


def test_a_case_does_not_depend_on_how_strings_are_hashed():
    program = "from labray import fuzz; print([fuzz.run(fuzz.case_of(seed)) for seed in (5, 7, 8, 9)])"
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


def test_what_a_sturdy_program_must_give_is_known_beforehand():
    steps = (
        Step(0, "leaf", value=3),
        Step(1, "nest", value=1, tree=(2,)),  # leaf 1, and two children of 1 and 2
        Step(2, "add", (0, 1)),
        Step(3, "crash"),
        Step(4, "add", (2, 3)),
        Step(5, "drop", (0,)),
        Step(6, "add", (0, 1, 9)),
    )
    assert expected(steps) == {0: 3, 1: 4, 2: 7, 6: 4}


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
    assert result.output.endswith("0 failed.\n")


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
    """ObjectTable.place_lost kept local copies whose owner died: no Evict will ever come."""
    assert fuzz.verdict(LEAK) is None


@pytest.mark.parametrize("seed", [102128, 109139])
def test_a_call_that_is_retried_without_end_waits_until_its_actor_lives_again(seed):
    """It went to the dead place again and again within one input, and took all memory."""
    assert fuzz.verdict(fuzz.case_of(seed)) is None


def test_an_actor_whose_last_handle_goes_with_its_last_call_at_a_lost_node_is_gone_once():
    assert fuzz.verdict(fuzz.case_of(211963)) is None


@pytest.mark.parametrize("step", ["put", "crash"])
def test_an_actor_killed_while_its_creation_is_on_its_way_back_is_not_made_after_all(step):
    """Seeds 204693 and 302811: the creation came back to its owner, who took it for another place's."""
    text = (
        '{"seed":204693,"setup":{"nodes":2,"profile":"default"},"steps":[{"number":0,"op":"actor"},'
        '{"number":4,"op":"%s","value":7},{"number":5,"op":"kill","actor":0,"value":6}],"faults":{"deaths":[],'
        '"crashes":[],"cuts":[],"delays":[],"slow":[],"stragglers":null,"mtbf":null,"notice":0.5,"spread":0.0,"seed":0}}'
    )
    assert fuzz.verdict(fuzz.read(text % step)) is None
