"""Fidelity: the patterns, the judging, profiles as files, and every program at a small scale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import labray
from experiments.fidelity import judging, page, running
from experiments.fidelity.patterns import PATTERNS
from experiments.fidelity.programs import suite
from experiments.fidelity.running import Setting, Timing
from experiments.harness.study import Study
from labray import messages as m
from labray import session
from labray.backends.sim.clock.event_queue import EventQueue
from labray.backends.sim.control.daemon import ServiceTimes, SimDaemon
from labray.backends.sim.hosts.cpu_hosts import DedicatedHost
from labray.backends.sim.settings import read
from labray.calibration.machine import own_cpu_s
from labray.calibration.provenance import Provenance
from labray.cli import main
from labray.costs import FREE, PROFILES, Profile
from labray.messages import Unpin
from labray.profiles import MESSAGES

SETTING = Setting(2, "bottom_up")


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_takes_distinct_points_of_the_step_before_in_order(name):
    for width in (2, 4, 8, 9):
        for step in range(1, 6):
            for point in range(width):
                taken = list(PATTERNS[name](step, point, width))
                assert taken == sorted(set(taken))
                assert set(taken) <= set(range(width))
                assert taken == list(PATTERNS[name](step, point, width))


def test_patterns_are_task_benchs():
    assert list(PATTERNS["stencil"](1, 0, 8)) == [0, 1]
    assert list(PATTERNS["nearest"](1, 4, 8)) == [2, 3, 4, 5, 6]
    assert list(PATTERNS["tree"](2, 4, 8)) == [4, 6]
    assert list(PATTERNS["tree"](2, 2, 8)) == [2]
    assert [list(PATTERNS["fft"](step, 2, 8)) for step in (1, 2, 3, 4)] == [
        [1, 2, 3],
        [0, 2, 4],
        [2, 6],
        [1, 2, 3],
    ]
    assert list(PATTERNS["all_to_all"](1, 3, 4)) == [0, 1, 2, 3]
    assert len(PATTERNS["spread"](1, 0, 20)) == 5


def test_the_suite_has_what_was_promised():
    programs = suite()
    names = [program.name for program in programs]
    assert len(set(names)) == len(names) >= 20
    assert {program.length_s for program in programs} == {0.0, 1e-3, 10e-3, 100e-3}
    assert set(PATTERNS) <= {program.family for program in programs}


def test_every_program_runs_simulated_and_takes_at_least_its_work_over_the_cores():
    timings = running.simulated(SETTING, suite(), Profile(), seed=0)
    for program in suite():
        (timing,) = timings[program.name]
        assert timing.tasks > 0
        if program.family in PATTERNS:
            assert timing.seconds >= timing.tasks * program.length_s / 2


def test_a_simulated_suite_is_the_same_twice():
    programs = [each for each in suite() if each.name.startswith(("stencil 1 ", "nested 1 ", "large_arrays"))]
    assert running.simulated(SETTING, programs, Profile(), 0) == running.simulated(
        SETTING, programs, Profile(), 0
    )


def test_errors_are_relative_to_the_median_and_noise_is_half_the_spread():
    real = {"p": [Timing(10, 2.0), Timing(10, 1.8), Timing(10, 2.4)]}
    (row,) = judging.rows(SETTING, {"p": 1e-3}, real, {"p": [Timing(10, 2.2)]}, 0.1, seed=3)
    assert (row.measured_s, row.error, row.noise) == (2.0, pytest.approx(0.1), pytest.approx(0.15))
    assert row.throughput_error == pytest.approx(2.0 / 2.2 - 1)
    summed = judging.summary("all", [row])
    assert (summed.median_error, summed.goal, summed.met) == (pytest.approx(0.1), pytest.approx(0.15), True)


def test_worlds_that_did_different_work_are_not_compared():
    with pytest.raises(AssertionError, match=r"did \[9, 10\] tasks"):
        judging.rows(SETTING, {"p": 0.0}, {"p": [Timing(10, 1.0)]}, {"p": [Timing(9, 1.0)]}, 0.0, seed=0)


def study(out: Path) -> Study:
    return Study(out, "a command", Provenance("c", "v", "m", "t"))


def test_the_page_is_written_twice_without_harm(tmp_path):
    real = {"p 0 ms": [Timing(10, 2.0)], "q 1 ms": [Timing(5, 1.0)]}
    rows = judging.rows(SETTING, {"p 0 ms": 0.0, "q 1 ms": 1e-3}, real, real, 0.0, seed=0)
    for _ in range(2):
        page.write(study(tmp_path), rows, Profile().to_toml())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fidelity.csv", "fidelity.md", "fidelity.png", "profile.toml",
    ]  # fmt: skip
    assert "| empty tasks | 1 | 0.0% |" in (tmp_path / "fidelity.md").read_text()


def test_real_runs_are_judged_again_beside_another_simulation(tmp_path):
    real = {"p 0 ms": [Timing(10, 2.0), Timing(10, 2.2)]}
    rows = judging.rows(SETTING, {"p 0 ms": 0.0}, real, real | {"p 0 ms": [Timing(10, 1.0)]}, 0.0, seed=4)
    page.write(study(tmp_path), rows, "")
    assert judging.recorded(tmp_path / "fidelity.csv") == rows
    (again,) = [judging.judged_again(row, {"p 0 ms": [Timing(10, 2.1)]}) for row in rows]
    assert (again.simulated_s, again.measured_s, again.seed) == (2.1, rows[0].measured_s, 4)
    assert again.error == pytest.approx(0.0)
    with pytest.raises(ValueError, match="has 9 tasks now"):
        judging.judged_again(rows[0], {"p 0 ms": [Timing(9, 2.1)]})


def test_the_error_is_told_in_parts_that_add_up_and_the_page_names_the_largest():
    real = [Timing(4, 2.0, bodies_s=2.5)]
    said = Timing(4, 2.6, bodies_s=3.5)
    (row,) = judging.rows(SETTING, {"p": 1e-3}, {"p": real}, {"p": [said]}, 0.0, seed=0)
    row = judging.explained(row, real, said)
    assert (row.bodies_s, row.between_s) == pytest.approx((0.5, 0.1))
    assert judging.blamed([row])[0].startswith("in bodies")
    (line,) = [line for line in page.where_from([row]) if line.startswith("| 1 ms")]
    assert "+25.0%" in line


def test_a_simulation_says_what_its_bodies_took():
    programs = [each for each in suite() if each.name == "trivial 10 ms"]
    (timing,) = running.simulated(SETTING, programs, Profile(), 0)["trivial 10 ms"]
    assert timing.tasks * 10e-3 <= timing.bodies_s < timing.tasks * 12e-3


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\x00"])
def test_what_holds_no_rows_is_refused(tmp_path, text):
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(ValueError, match=r"rows\.csv"):
        judging.recorded(tmp_path / "rows.csv")


@pytest.mark.processes
def test_cpu_of_processes_that_have_ended_is_still_ours():
    before = own_cpu_s()
    subprocess.run(
        [sys.executable, "-c", "import time\nwhile time.process_time() < 0.1: pass"], check=True, timeout=60
    )
    assert own_cpu_s() - before >= 0.05  # it is counted in hundredths


# ---------------------------------------------------------------- profiles as files


@pytest.mark.parametrize("profile", [Profile(), FREE, Profile(wake_s=1 / 3, measured='on "m"\nat t')])
def test_a_profile_survives_being_written(profile):
    assert Profile.from_toml(profile.to_toml()) == profile


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wake_s = ", "this is not a profile"),
        ("wake_s = 'soon'", "wake_s"),
        ("wake = 1.0", "'wake' is not a service time"),
        ("wake_s = -1.0", "wake_s"),
        ("task_s = nan", "task_s"),
        ("messages_s = 3", "this is not a profile"),
        ("[messages_s]\nSubmit = 'x'", "this is not a profile"),
        ("version = 3", "it is of version 3; this labray reads versions 1 and 2"),
        ("[messages_s]\nSubmitted = 1.0", "'Submitted' is not a message"),
        ("[messages_s]\nSubmitTask = 1.0", "'SubmitTask' is not a message"),
        ("version = 2\n[messages_s]\nSubmit = 1.0", "'Submit' is not a message"),
    ],
)
def test_what_is_no_profile_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        Profile.from_toml(text)


def test_a_profile_of_version_1_is_read_with_the_names_that_messages_had():
    old = Profile.from_toml("task_s = 0.5\n[messages_s]\nSubmit = 1.0\nFinished = 2.0\nTold = 3.0\n")
    assert old.messages_s == (("SubmitTask", 1.0), ("Finished", 2.0), ("AgentMessage", 3.0))
    assert "version = 2" in old.to_toml().splitlines()
    assert Profile.from_toml(old.to_toml()) == old


def test_every_message_of_the_default_has_its_service_time_in_the_simulator():
    default = PROFILES["default"]
    times = ServiceTimes(default)
    assert {name: times[MESSAGES[name]] for name in MESSAGES} == dict(default.messages_s)
    assert times[m.DropRefs] == default.message_s


def test_the_simulator_reads_a_profile_from_its_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(Profile(task_s=0.5).to_toml())
    assert read({"profile": str(path)}).profile.task_s == 0.5
    with labray.init("sim", profile=path):
        labray.get(labray.remote(lambda: None).remote())
        assert labray.now() > 0.5
    with pytest.raises(ValueError, match=r"cannot read the profile .*none.toml"):
        read({"profile": str(tmp_path / "none.toml")})


def test_the_default_profile_says_where_it_was_measured():
    assert "cores" in PROFILES["default"].measured
    assert read({}).profile is PROFILES["default"]


def test_a_profile_can_be_made_the_default(tmp_path):
    from experiments.calibrate.__main__ import ship

    ship(Profile(task_s=0.5, measured='on "m"'), tmp_path / "shipped.py")
    known: dict[str, str] = {}
    exec((tmp_path / "shipped.py").read_text(), known)
    assert Profile.from_toml(known["TOML"]) == Profile(task_s=0.5, measured='on "m"')


def test_calibrate_passes_on_where_the_profile_goes(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("labray.calibration.calibrate.calibrate", lambda *given: asked.append(given))
    assert CliRunner().invoke(main, ["calibrate", "--out", str(tmp_path / "p.toml")]).exit_code == 0
    assert asked == [(tmp_path / "p.toml", None)]


def test_calibrate_says_which_file_has_no_figures(tmp_path):
    (tmp_path / "f.json").write_text("[]")
    words = ["calibrate", "--out", str(tmp_path / "p.toml"), "--figures", str(tmp_path / "f.json")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "f.json is not a file of figures" in result.output


# ---------------------------------------------------------------- terms


def simulated_s(profile: Profile) -> float:
    with labray.init("sim", nodes=1, num_cpus=1, profile=profile, host_cores=1):
        task = labray.remote(lambda: None)
        labray.get(task.remote())
        begun = labray.now()
        for _ in range(10):
            labray.get(task.remote())
        return labray.now() - begun


@pytest.mark.parametrize("term", ["answered_s", "taken_s"])
def test_a_sleeper_pays_for_each_time_it_is_woken(term):
    assert simulated_s(Profile(**{term: 1e-3})) == pytest.approx(simulated_s(Profile()) + 10e-3)


def test_waking_takes_longer_after_a_long_sleep_and_the_longer_the_colder_the_caches_are():
    profile = Profile(wake_s=1.0, deep_wake_s=2.0, deep_after_s=0.5e-3, cold_s=1.0, cold_after_s=1e-3)
    host = DedicatedHost(EventQueue(None), profile)
    assert [host.waking_s(asleep_s) for asleep_s in (0.0, 9e-3, 99e-3, 100.0)] == pytest.approx(
        [1.0, 3.0, 4.0, 5.0], abs=1e-3
    )


def test_what_a_process_does_before_it_sleeps_delays_nobody_unless_it_is_woken_at_once():
    profile = Profile(after_share=0.25)
    assert [profile.woken_s(4.0, asleep_s) for asleep_s in (0.0, 0.5, 9.0)] == [4.0, 3.5, 3.0]


@pytest.mark.parametrize("term", ["export_s", "import_s"])
def test_new_code_costs_once(term):
    def seconds(profile: Profile, times: int) -> float:
        with labray.init("sim", nodes=1, num_cpus=1, profile=profile):
            labray.get(labray.remote(lambda: None).remote())
            task = labray.remote(lambda: None)
            begun = labray.now()
            for _ in range(times):
                labray.get(task.remote())
            return labray.now() - begun

    for times in (1, 3):
        more_s = seconds(Profile(**{term: 10e-3}), times) - seconds(Profile(**{term: 0.0}), times)
        assert more_s == pytest.approx(10e-3, rel=0.1)


def test_a_workers_first_task_takes_longer():
    first, second = (simulated_s(Profile(first_s=seconds)) for seconds in (0.0, 1.0))
    assert first == pytest.approx(second, rel=0.02)  # the first one is not timed there
    with labray.init("sim", nodes=1, num_cpus=1, profile=Profile(first_s=1.0)):
        labray.get(labray.remote(lambda: None).remote())
        assert 1.0 < labray.now() < 1.1


@pytest.mark.parametrize("term", ["submit_dep_s", "submitted_dep_s", "task_dep_s"])
def test_every_ref_among_the_arguments_costs_its_part(term):
    def seconds(profile: Profile) -> float:
        with labray.init("sim", nodes=1, num_cpus=1, profile=profile):
            task = labray.remote(lambda *values: None)
            given = [task.remote() for _ in range(3)]
            labray.get(given)
            begun = labray.now()
            labray.get(task.remote(*given))
            return labray.now() - begun

    assert seconds(Profile(**{term: 1e-3})) == pytest.approx(
        seconds(Profile()) + 3e-3, rel=0.02
    )  # it idles less


def test_a_task_lets_go_of_its_arguments_when_its_body_has_ended(monkeypatch):
    told: list[float] = []
    receive = SimDaemon.receive

    def listens(self, mail):
        mail = list(mail)
        told.extend(session.running().events.now for _, _, word in mail if type(word) is Unpin)
        receive(self, mail)

    monkeypatch.setattr(SimDaemon, "receive", listens)
    with labray.init("sim", nodes=1, num_cpus=1, profile="free"):
        takes = labray.remote(lambda array: labray.spend(0.5))
        labray.get(takes.remote(labray.put(np.zeros(200_000, np.uint8))))
    assert len(told) == 1 and told[0] >= 0.5
