"""The suite of `experiments.validate` where it needs no data of others, in small; and the page it writes."""

from __future__ import annotations

import csv

import pytest
from msgspec.structs import replace

from experiments.harness.study import Study
from experiments.validate import __main__ as validate
from experiments.validate import closed_forms, estee, networks, papers, queueing
from experiments.validate.case import QUICK, Case, Scale, at_least, close, interval, later
from labray.calibration.provenance import Provenance

NO_DATA = replace(
    QUICK,
    data="/nonexistent",
    random_graphs=1,
    queue_jobs=200,
    recursion_jobs=10_000,
    servers=20,
    server_jobs=20,
)


def failures(cases) -> list[str]:
    return [f"{c.name}: known {c.known}, ours {c.ours} ({c.rule})" for c in cases if c.verdict == "FAIL"]


def test_closed_forms_and_bounds_hold_for_every_policy():
    cases = list(closed_forms.cases(NO_DATA))
    assert len(cases) > 20 and not failures(cases)


def test_flows_share_as_simgrid_and_estee_say_and_a_ring_takes_its_time():
    cases = list(networks.cases(NO_DATA))
    assert len(cases) == 28 and not failures(cases)


def test_published_schedules_come_out_and_what_was_not_run_is_said():
    cases = list(papers.cases(NO_DATA))
    assert not failures(cases)
    assert [c.family for c in cases if c.verdict == "skipped"] == [papers.STG]


def test_queues_have_their_known_means_and_every_job_waits_as_the_recursion_says():
    cases = list(queueing.cases(NO_DATA))
    assert len(cases) == 27 and not failures(cases)


def test_erlang_c_and_join_the_shortest_give_the_tables_of_the_literature():
    found = [round(queueing.erlang_c(c, 0.9), 5) for c in (1, 2, 4, 8, 16, 64)]
    assert found == [0.90000, 0.85263, 0.78775, 0.70153, 0.59134, 0.31066]
    assert [round(queueing.shortest_of(d, 0.9), 4) for d in (1, 2, 3, 5)] == [10.0, 2.6141, 2.0279, 1.6329]
    assert [round(queueing.shortest_of(2, load), 4) for load in (0.5, 0.8, 0.95, 0.99)] == [
        1.2657, 1.9474, 3.3830, 5.4320,
    ]  # fmt: skip


def test_the_recursion_serves_first_come_first():
    jobs = [(0.0, 3.0), (0.0, 1.0), (0.5, 1.0), (4.0, 1.0)]
    assert queueing.kiefer_wolfowitz(jobs, 2) == [0.0, 0.0, 0.5, 0.0]
    assert queueing.kiefer_wolfowitz(jobs, 1) == [0.0, 3.0, 3.5, 1.0]


# ---------------------------------------------------------------- with the data of others, where it is


@pytest.mark.slow
def test_hlfet_and_fifo_are_as_far_from_the_proven_optima_as_known():
    if Scale().folder("stg") is None:
        pytest.skip("the Standard Task Graphs are not here: set LABRAY_DATA")
    cases = [c for c in papers.cases(QUICK) if c.family == papers.STG]
    assert len(cases) == 17 and not failures(cases)


@pytest.mark.parametrize("name", ["merge_triplets", "splitters", "conflux"])
def test_one_worker_takes_as_long_as_in_estee(name):
    graphs, golden = Scale().folder("estee"), Scale().folder("golden")
    if graphs is None or golden is None:
        pytest.skip("Estee's graphs are not here: set LABRAY_DATA")
    known = estee.read_golden(golden / "estee_golden_8x4_100MBs.txt")[name]["single/simple"]
    graph = dict(estee.read_graphs(graphs / "elementary.zip"))[name]
    ours = estee._run(graph, estee.Single(estee.executed(graph)), "simple")
    assert ours == pytest.approx(known, rel=5e-6)


# ---------------------------------------------------------------- judging, and the page


def test_a_case_that_is_off_fails():
    assert close("f", "n", 1.0, 1.1, 0.05).verdict == "FAIL"
    assert at_least("f", "n", 2.0, 1.9, "rule").verdict == "FAIL"
    assert interval("f", "n", 5.0, [1.0, 1.1, 0.9, 1.0, 1.0]).verdict == "FAIL"
    assert interval("f", "n", 1.05, [1.0, 1.1, 0.9, 1.0, 1.0]).verdict == "pass"


def test_the_page_holds_every_row_and_is_one_file(tmp_path):
    cases = [
        close("a", "x <y>", 1.0, 1.0, 0.1),
        Case("b", "z", "1", "2", "FAIL", "rule"),
        later("b", "w", 3, "no"),
    ]
    validate.write(Study(tmp_path, "a command", Provenance("c", "v", "m", "t")), cases)
    with open(tmp_path / "rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["pass", "FAIL", "not yet"]
    page = (tmp_path / "index.html").read_text()
    assert "x &lt;y&gt;" in page and "src=" not in page
    assert "1 pass, 1 FAIL, 1 not yet" in (tmp_path / "report.md").read_text()
