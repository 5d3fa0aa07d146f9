"""The main job's own parts: the program, the rows, the arithmetic of a prediction. What is slow is left to .ci/run."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from msgspec import Struct

import labray
from labray.calibration import fitting, probes
from labray.calibration.provenance import Provenance, save_rows
from labray.comparison import identifiers, prediction, scaling
from labray.comparison.measured import MeasuredRange, measured_range, terms
from labray.costs import Profile
from labray.files import traces

ORIGIN = Provenance("abc1234", "python 3", "2 cores", "2026-01-01T00:00:00+00:00")


@pytest.fixture
def few(tmp_path: Path) -> list[Path]:
    for name, text in (("b.py", "x = x + y\n"), ("a.py", "def f(x): return 'y'\n"), ("broken.py", "z = (\n")):
        (tmp_path / name).write_text(text)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("no = 1\n")
    return identifiers.source_files(tmp_path)


def test_files_are_sorted_and_tests_are_left_out(few):
    assert [path.name for path in few] == ["a.py", "b.py", "broken.py"]


def test_fewer_files_are_spread_evenly_over_all():
    every = identifiers.source_files()
    some = identifiers.source_files(at_most=10)
    assert len(some) == len(set(some)) == 10
    assert some[0] == every[0] and every.index(some[-1]) > len(every) * 0.8


def test_identifiers_are_counted_without_keywords_and_strings(few):
    assert identifiers.counted_plainly(few) == Counter({"x": 3, "y": 1, "f": 1, "z": 1})


@pytest.mark.parametrize("backend", ["inline", "sim"])
def test_the_program_counts_what_one_process_counts(backend):
    files = identifiers.source_files(at_most=20)
    with labray.init(backend):
        outcome = identifiers.run(files)
    assert outcome.counts == identifiers.counted_plainly(files)
    assert outcome.tasks == 20 + 3 + 1


def test_a_prediction_from_recorded_costs_takes_as_long_as_they_say():
    files = identifiers.source_files(at_most=12)
    with labray.init("inline") as session:
        identifiers.run(files)
        recorded = session.trace()
    costs = dict.fromkeys(prediction.recorded_costs([recorded]), 0.01)
    said = prediction.simulate("centralized", 2, files, costs, Profile(), host_cores=2, seed=0)
    assert said.correct
    spent = terms(said.events, said.seconds)
    assert spent.cpu_s == pytest.approx(0.01 * (12 + 2 + 1))
    assert spent.cpu_s + spent.waited_s + spent.idle_s == pytest.approx(2 * said.seconds)


def test_recorded_costs_are_medians_over_runs():
    def trace(cpu: float) -> list:
        return [(1.0, "ran", "n0", "d-0", ("n0/w0", 0, 0.0, 1.0, cpu))]

    assert prediction.recorded_costs([trace(1.0), trace(9.0), trace(2.0)]) == {"d-0": 2.0}


def test_the_noise_floor_is_half_the_distance_of_the_extremes():
    assert measured_range([2.0, 1.0, 4.0]) == MeasuredRange(2.0, 1.0, 4.0)
    assert measured_range([2.0, 1.0, 4.0]).noise == pytest.approx(0.75)
    assert prediction.relative_error(1.1, 1.0) == pytest.approx(0.1)


def test_a_flood_is_submitted_on_every_node_and_the_same_every_time():
    job = scaling.ScalingJob("flood", "centralized", nodes=2, share=20)
    point, again = scaling.simulate(job), scaling.simulate(job)
    assert point.tasks == 40
    assert point.head_peak >= 20
    assert point.digest == again.digest


def test_a_recorded_graph_runs_many_times_over_without_its_actor(tmp_path):
    with labray.init("inline") as session:
        identifiers.run(identifiers.source_files(at_most=9))
        traces.save(tmp_path / "run.lab", session.trace())
    job = scaling.ScalingJob("replay", "bottom_up", nodes=2, share=3, recording=str(tmp_path / "run.lab"))
    point = scaling.simulate(job)
    assert point.tasks == 3 * (9 + 2 + 1)
    assert point.makespan_s >= point.bound_s > 0


FIGURES = fitting.Figures(
    single_s=400e-6, single_driver_cpu_s=60e-6, single_daemon_cpu_s=110e-6, single_worker_cpu_s=50e-6,
    batch_s=40e-6, batch_driver_cpu_s=9e-6, batch_daemon_cpu_s=30e-6, batch_worker_cpu_s=20e-6,
    central_daemon_cpu_s=40e-6, dep_driver_cpu_s=17e-6, dep_daemon_cpu_s=42e-6, dep_worker_cpu_s=20e-6,
    slow_s=1.5e-3, slowest_s=51.4e-3, window_s=0.6e-3, far_s=0.8e-3,
    short_s=560e-6, short_worker_cpu_s=100e-6, short_body_s=450e-6,
    export_cpu_s=100e-6, import_cpu_s=50e-6, first_cpu_s=2e-3, handover_s=0.1e-3, recursion_s=12e-3, crowd_s=6e-3,
    put_Bps=1e9, fresh_Bps=1e9, push_Bps=5e8,
)  # fmt: skip
"""Made up, and possible."""


@pytest.mark.timeout(300)  # twenty seconds of CPU: a thousand simulations
@pytest.mark.slow
def test_a_profile_is_fitted_to_what_was_measured():
    profile = fitting.fit(FIGURES, where="here")
    assert (profile.task_s, profile.taken_s) == (20e-6, pytest.approx(30e-6))
    assert profile.submit_s + profile.answered_s + profile.call_s + 2 * profile.answer_s == pytest.approx(
        61.5e-6
    )
    said = probes.simulated(profile, probes.round_trip, 100)
    assert said.daemon_cpu_s == pytest.approx(FIGURES.single_daemon_cpu_s, rel=0.05)
    assert probes.simulated(profile, probes.batch, 1).daemon_cpu_s == pytest.approx(30e-6, rel=0.05)
    assert (
        0 <= profile.busy_wake_s <= max(each.most for each in fitting.LATENCIES if each.term == "busy_wake_s")
    )
    assert (profile.submit_dep_s, profile.submitted_dep_s, profile.task_dep_s) == pytest.approx(
        (2e-6, 3e-6, 0.0)
    )
    assert profile.measured == "here"
    for row in fitting.check(FIGURES, profile):
        if row.fitted:
            assert row.simulated_s == pytest.approx(row.measured_s, rel=0.15), row.program


def test_rows_say_where_they_come_from(tmp_path):
    class Row(Struct):
        name: str
        seconds: float

    save_rows(tmp_path / "rows.csv", [Row("a", 1.5), Row("b", 2.0)], ORIGIN)
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["seconds"] for row in rows] == ["1.5", "2.0"]
    assert {row["commit"] for row in rows} == {"abc1234"}
