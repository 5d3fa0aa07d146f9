"""The pytest plugin: seeds, faults, and the line that reproduces a failure."""

from __future__ import annotations

import re

import pytest

from labray import testing
from tests.kit.paths import ROOT

pytest_plugins = ["pytester"]

PAGE = ROOT / "docs" / "testing.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run(pytester, *arguments: str):
    return pytester.runpytest_inprocess("-p", "labray.testing", "-p", "no:cacheprovider", *arguments)


def test_the_pages_ledger_passes_under_seed_0_and_another_seed_finds_its_luck(pytester, monkeypatch):
    monkeypatch.delenv(testing.SEED, raising=False)
    pytester.makepyfile(test_ledger=blocks("python")[0])
    run(pytester).assert_outcomes(passed=2)
    found = run(pytester, "--labray-seeds", "8")
    told = re.findall(r"reproduce: (\S+)=(\d+) pytest '(.*)'", found.stdout.str())
    assert told
    assert {test.partition("[")[0] for _, _, test in told} == {
        "test_ledger.py::test_deposits_arrive_in_order"
    }
    name, seed, test = told[0]
    assert (
        f"reproduce: {name}={seed} pytest '{test}'" in blocks("text")[0]
    )  # what the page shows is what is told
    monkeypatch.setenv(name, seed)
    again = run(pytester, test)
    again.assert_outcomes(failed=1)
    assert f"reproduce: {name}={seed} pytest '{test}'" in again.stdout.str()


def test_the_pages_fault_plan_costs_no_result(pytester, monkeypatch):
    monkeypatch.delenv(testing.SEED, raising=False)
    pytester.makepyfile(test_square=blocks("python")[1])
    run(pytester, "--labray-seeds", "3").assert_outcomes(passed=3)


def test_a_simulation_ends_with_its_test_and_may_be_started_twice(pytester, monkeypatch):
    monkeypatch.delenv(testing.SEED, raising=False)
    pytester.makepyfile(
        """
        import labray

        def test_starts(simulation):
            simulation(nodes=2)
            assert len(labray.nodes()) == 2
            simulation(nodes=3)
            assert len(labray.nodes()) == 3

        def test_is_over():
            assert not labray.is_initialized()

        def test_has_its_own_seed(simulation):
            simulation(seed=3)
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*TypeError: simulation() has a seed of its own*"])


def test_seeds_come_from_the_environment_or_count_from_0():
    assert testing.seeds("", 3) == [0, 1, 2]
    assert testing.seeds("17", 3) == [17]
    with pytest.raises(pytest.UsageError, match="LABRAY_SEED"):
        testing.seeds("minus", 1)
    with pytest.raises(pytest.UsageError, match="labray-seeds"):
        testing.seeds("", 0)


def test_a_disturbance_is_a_function_of_its_seed():
    assert testing.disturbed(0, 3) == {}
    assert testing.disturbed(5, 3) == testing.disturbed(5, 3) != testing.disturbed(6, 3)
