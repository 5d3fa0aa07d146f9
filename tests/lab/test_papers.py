"""What `papers/` needs to be right: their numbers, the fit, and the program that both ends run."""

from __future__ import annotations

import csv

import pytest

from papers.ownership.benchmark import Load, Speeds, simulate
from papers.ownership.fit import fit
from papers.ownership.theirs import FIRST, FITTED, NODES
from tests.kit.paths import DATA

ENDS = DATA / "golden" / "ownership_nsdi21_endpoints.csv"
SMALL = Load(rounds=2, tasks=20)


@pytest.mark.skipif(not ENDS.exists(), reason=f"{ENDS} is not here")
def test_the_ends_that_were_fitted_are_the_published_ones():
    with ENDS.open() as file:
        published = {
            (row["system"], int(row["num_nodes"])): float(row["throughput"]) for row in csv.DictReader(file)
        }
    for system, points in FIRST.items():
        for nodes in FITTED:
            assert points[nodes] == pytest.approx(published[system, nodes], abs=0.01)


def test_the_fit_meets_both_ends_of_a_curve_that_saturates_and_sees_no_others():
    asked = set()

    def saturating(nodes: int, speeds: Speeds) -> float:
        asked.add(nodes)
        return 1 / (1 / (4000 * nodes * speeds.nodes) ** 4 + 1 / (50_000 * speeds.head) ** 4) ** 0.25

    found, _ = fit(FIRST["centralized"], saturating, headless=False)
    for nodes in FITTED:
        assert saturating(nodes, found) == pytest.approx(FIRST["centralized"][nodes], rel=0.01)
    assert asked == set(FITTED)


def test_where_no_task_passes_the_head_the_errors_at_the_ends_are_opposite():
    def straight(nodes: int, speeds: Speeds) -> float:
        return 6000 * nodes * speeds.nodes

    found, _ = fit(FIRST["leases"], straight, headless=True)
    small, large = (straight(nodes, found) / FIRST["leases"][nodes] for nodes in FITTED)
    assert small * large == pytest.approx(1.0, rel=0.02)


def test_a_curve_that_no_speed_meets_is_an_error():
    with pytest.raises(RuntimeError, match="still"):
        fit(FIRST["centralized"], lambda nodes, speeds: 1.0 * nodes, headless=False)


def test_owners_scale_with_the_nodes_and_a_head_does_not():
    slow_head = Speeds(nodes=1.0, head=0.1)
    rates = {
        (system, nodes): simulate(system, nodes, slow_head, SMALL, 0).throughput
        for system in ("ownership", "centralized")
        for nodes in (5, 20)
    }
    assert rates["ownership", 20] == pytest.approx(4 * rates["ownership", 5], rel=0.1)
    assert rates["centralized", 20] < 1.5 * rates["centralized", 5]


def test_the_same_seed_gives_the_same_run():
    assert simulate("centralized", 5, Speeds(0.5, 1.0), SMALL, 3) == simulate(
        "centralized", 5, Speeds(0.5, 1.0), SMALL, 3
    )


def test_every_size_of_theirs_is_in_the_table():
    assert all(tuple(points) == NODES for points in FIRST.values())
    assert set(FITTED) < set(NODES)
