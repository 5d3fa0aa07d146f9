"""The command line: it parses, calls and prints."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import labray
from labray import fuzz as fuzzing
from labray.cli import main


def test_compare_does_the_job_with_what_was_asked(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr("labray.comparison.compare.main", lambda **given: calls.append(given))
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["compare"]).exit_code == 0
    assert CliRunner().invoke(main, ["compare", "--quick", "--out", "elsewhere"]).exit_code == 0
    assert calls == [
        {"quick": False, "out": Path("results/compare")},
        {"quick": True, "out": Path("elsewhere")},
    ]


def test_the_version_is_told():
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("labray, version ")


# ---------------------------------------------------------------- exit codes, and what is printed


STG = "2\n0 0 0\n1 8 1 0\n2 8 1 1\n3 0 1 2\n"


@labray.remote(num_cpus=2)
def wide():
    labray.spend(0.1)
    return bytes(3000)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A place with a graph and a recording in it."""
    monkeypatch.chdir(tmp_path)
    Path("g.stg").write_text(STG)
    with labray.init("sim", nodes=2, num_cpus=2, trace="run.lab"):
        labray.get([wide.remote() for _ in range(3)])
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), env={"COLUMNS": "80"})


def refused(*words: str) -> str:
    """The last line of a command that could not do what it was asked; no traceback."""
    result = run(*words)
    assert isinstance(result.exception, SystemExit) and result.exit_code != 0, result.exc_info
    return result.output.strip().splitlines()[-1]


def test_no_cpu_is_not_the_usual_number_of_cpus(here):
    result = run("whatif", "g.stg", "--nodes", "1,2", "--cpus", "0")
    assert result.exit_code == 1
    assert result.output.count("cannot run: ") == 2
    assert "CPU" in result.output.split("cannot run: ")[1]


@pytest.mark.parametrize("source", ["g.stg", "run.lab"])
@pytest.mark.parametrize("cpus", ["-1", "nan", "1e18", "0.00001"])
def test_what_is_no_number_of_cpus_is_refused(here, source, cpus):
    assert "num_cpus" in refused("whatif", source, "--cpus", cpus)


def test_the_reason_is_told_in_full_and_the_exit_code_says_that_nothing_ran(here):
    result = run("whatif", "run.lab", "--nodes", "1,2", "--cpus", "1", "--out", "rows")
    assert result.exit_code == 1
    reason = next(
        line for line in result.output.splitlines() if line.startswith("what if, bottom_up, 2 nodes: ")
    )
    assert "{CPU: 2}" in reason
    assert Path("rows/whatif.csv").read_text().count("{CPU: 2}") == 2


def test_what_can_run_is_an_answer_though_something_else_cannot(here):
    Path("w.json").write_text(json.dumps(wants_a_node_n3()))
    result = run("whatif", "w.json", "--nodes", "1,4")
    assert result.exit_code == 0
    assert "what if, bottom_up, 1 node: cannot run: " in result.output


def wants_a_node_n3() -> dict:
    task = {"name": "a", "id": "a", "parents": [], "children": []}
    ran = {"id": "a", "runtimeInSeconds": 1, "labray.demand": {"node:n3": 0.5}}
    execution = {"makespanInSeconds": 1, "executedAt": "2026-01-01T00:00:00Z", "tasks": [ran]}
    return {"name": "w", "schemaVersion": "1.5",
            "workflow": {"specification": {"tasks": [task]}, "execution": execution}}  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("export", "g.stg", "nowhere/o.json", "--to", "wfformat"),
        ("export", "run.lab", "nowhere/o.json", "--to", "perfetto"),
        ("export", "g.stg", "g.stg/o.json", "--to", "stg"),
        ("whatif", "g.stg", "--out", "/proc/nosuch"),
        ("whatif", "run.lab", "--out", "g.stg/below"),
        ("compare", "--out", "/proc/nosuch"),
        ("calibrate", "--out", "nowhere/profile.toml"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_done(here, monkeypatch, words):
    def never(*args: object, **given: object) -> None:
        raise AssertionError("something was done first")

    monkeypatch.setattr("labray.comparison.compare.main", never)
    monkeypatch.setattr("labray.calibration.calibrate.calibrate", never)
    monkeypatch.setattr("labray.replaying.whatif.predict", never)
    said = refused(*words)
    assert (said.startswith("Error: cannot use ") and words[-1].split("/")[0] in said) or "o.json" in said


def test_a_full_disk_is_a_sentence_too(here):
    assert (
        refused("export", "g.stg", "/dev/full", "--to", "stg")
        == "Error: cannot write: No space left on device."
    )


def test_a_recording_is_not_written_over_itself(here):
    before = Path("run.lab").read_bytes()
    assert "it would be lost" in refused("export", "run.lab", "run.lab", "--to", "stg")
    assert Path("run.lab").read_bytes() == before


def test_a_command_that_was_refused_leaves_no_file_behind(here):
    refused("export", "g.stg", "o.json", "--to", "perfetto")
    assert not Path("o.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--seeds", "5:3"), ("--seeds", "5:5"), ("--seeds", "-3"), ("--seeds", "x"), ("--minutes", "0"),
        ("--minutes", "-1"), ("--most", "0"), ("--case", "[" * 100_000), ("--case", "[]"),
    ],
)  # fmt: skip
def test_a_search_of_nothing_does_not_pass(words):
    result = run("fuzz", *words)
    assert result.exit_code == 2, result.output
    assert words[0] in result.output


MINE = """
from labray.schedulers import Centralized, RoundRobin

class Policy(RoundRobin):
    pass

class Silent:
    def handle(self, event, now):
        return None

class Rogue(RoundRobin):
    def agent(self, *given):
        return Silent()

value = Centralized()
number = 3
"""


@pytest.fixture
def mine(here, monkeypatch) -> None:
    """A module of a user's, in the directory that the command is called in."""
    Path("mine.py").write_text(MINE)
    Path("broken.py").write_text("1 / 0")
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each != str(here)])
    for name in ("mine", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("name", ["mine:Policy", "mine:value", "heft"])
def test_all_cases_run_under_the_policy_that_is_named(mine, name):
    result = run("fuzz", "--seeds", "0:3", "--scheduler", name)
    assert result.exit_code == 0, result.output
    assert f"policy    {name} 3\n" in result.output


def test_a_policy_of_ones_own_that_breaks_the_rules_is_found_and_the_command_has_it_again(mine):
    result = run("fuzz", "--seeds", "0:9", "--scheduler", "mine:Rogue", "--most", "1", "--no-shrink")
    assert result.exit_code == 1
    assert "handle() gave None" in result.output
    again = next(line for line in result.output.splitlines() if line.startswith("run it again: "))
    assert again.endswith("--scheduler mine:Rogue")
    assert run(*again.removeprefix("run it again: labray ").split()).exit_code == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nosuch:Policy", "nosuch cannot be imported: ModuleNotFoundError"),
        ("broken:Policy", "broken cannot be imported: ZeroDivisionError"),
        ("mine:Nobody", "the module mine has no 'Nobody' in it"),
        ("mine:number", "mine:number is not a Scheduler"),
        ("mine:", "does not name a policy: write module:Policy"),
        ("heaft", "did you mean 'heft'"),
    ],
)
def test_what_is_no_policy_to_search_under_is_a_sentence(mine, name, said):
    result = run("fuzz", "--seeds", "0:3", "--scheduler", name)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.replace("│", " ").split())


def test_a_search_passes_fails_or_was_interrupted_and_the_exit_code_says_which(monkeypatch):
    summaries = iter([fuzzing.Summary(3, 1.0, []), fuzzing.Summary(2, 1.0, [])])
    monkeypatch.setattr(fuzzing, "fuzz", lambda *args, **given: next(summaries))
    assert run("fuzz", "--seeds", "0:3").exit_code == 0
    assert run("fuzz", "--seeds", "0:3").exit_code == 1


def test_a_search_prints_no_line_of_more_than_80_columns():
    result = run("fuzz", "--seeds", "0:4")
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80


def test_a_table_of_80_columns_holds_all_its_figures(here):
    result = run("whatif", "run.lab", "--nodes", "1,100", "--scheduler", "ownership_leases", "--out", "rows")
    assert result.exit_code == 0, result.output
    assert "…" not in result.output
    rows = list(csv.DictReader(Path("rows/whatif.csv").read_text().splitlines()))
    lines = [
        line
        for line in result.output.splitlines()
        if line.startswith((" recorded", " predicted", " what if"))
    ]
    assert len(lines) == len(rows) == 4
    for line, row in zip(lines, rows, strict=True):
        assert len(line) <= 80
        assert f"{float(row['makespan_s']):.4g} s" in line and f"{float(row['utilisation']):.1%}" in line


@pytest.mark.parametrize("nodes", ["5:3", "0:5", "1:20000", "20000", "3,", "", "0"])
def test_what_is_no_number_of_nodes_is_refused_before_anything_is_done(here, monkeypatch, nodes):
    monkeypatch.setattr("labray.replaying.whatif.predict", lambda *args: 1 / 0)
    assert "is not a list of node counts" in refused("whatif", "g.stg", "--nodes", nodes)


def test_one_sample_is_no_finding(here):
    assert "node do" not in run("whatif", "g.stg", "--nodes", "1").output
    assert "bottom_up: more than 1 node help no more" in run("whatif", "g.stg", "--nodes", "1,2").output
