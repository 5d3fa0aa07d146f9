"""What users install: the wheel holds labray alone, and every command works from it, in another directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.kit.paths import ROOT

pytestmark = pytest.mark.processes
ONLY_WHAT_IS_INSTALLED = """
import sys
sys.meta_path[:] = [each for each in sys.meta_path if not getattr(each, "__module__", "").startswith("__editable__")]
"""
"""Python reads it as sitecustomize.py: an editable install would find this checkout, and the experiments in it."""
PROGRAM = """
import labray

@labray.remote
def double(number):
    labray.spend(0.1)
    return 2 * number

with labray.init("sim", nodes=2, trace="run.lab"):
    assert labray.get([double.remote(number) for number in range(3)]) == [0, 2, 4]
"""
POLICY = """
from labray.schedulers import RoundRobin

class Policy(RoundRobin):
    pass
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built of a copy, for a build leaves directories behind."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("labray", "experiments", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "_compiled"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index"]
    env = {**os.environ, "LABRAY_COMPILE": "0"}
    subprocess.run([*pip, "--no-build-isolation", "--no-deps", "-w", built, source], check=True, env=env)
    (found,) = built.glob("labray-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Its files, where Python finds them and nothing of this checkout."""
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(site)
    (site / "sitecustomize.py").write_text(ONLY_WHAT_IS_INSTALLED)
    return site


@pytest.fixture
def python(installed, tmp_path):
    """Runs the interpreter elsewhere; gives what was printed."""

    def run(*words: str, code: int = 0) -> str:
        env = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "80"}
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mine.py").write_text(POLICY)
    return run


def test_the_wheel_installs_labray_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.partition("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"labray"}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "labray").rglob("*.py")}
    assert sources <= set(names)


def test_what_is_tried_here_is_the_wheel_and_there_are_no_experiments(python, installed):
    assert python("-c", "import labray; print(labray.__file__)").strip() == str(
        installed / "labray/__init__.py"
    )
    assert "No module named 'experiments'" in python("-c", "import experiments", code=1)


@pytest.mark.parametrize("command", ["", "compare", "calibrate", "whatif", "fuzz", "export"])
def test_every_command_says_how_it_is_used(python, command):
    text = python("-m", "labray", *command.split(), "--help")
    assert text.startswith("Usage:")
    assert command or {"compare", "calibrate", "whatif", "fuzz", "export"} < set(text.split())


def test_a_recording_is_asked_and_exported(python, tmp_path):
    python("program.py")
    text = python("-m", "labray", "whatif", "run.lab", "--nodes", "1,2", "--out", "rows")
    assert "Rows and figure are in rows." in text
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == ["whatif.csv", "whatif.png"]
    for form in ("perfetto", "wfformat", "stg"):
        python("-m", "labray", "export", "run.lab", f"run.{form}", "--to", form)
        assert (tmp_path / f"run.{form}").stat().st_size


def test_programs_are_searched_for_failures(python):
    assert "3 seeds" in python("-m", "labray", "fuzz", "--seeds", "0:3")
    assert "3 seeds" in python("-m", "labray", "fuzz", "--seeds", "0:3", "--scheduler", "mine:Policy")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_this_machine_is_calibrated(python, tmp_path):
    assert "labray.init('sim'" in python("-m", "labray", "calibrate", "--out", "profile.toml")
    program = PROGRAM.replace('trace="run.lab"', 'profile="profile.toml"')
    python("-c", program)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_main_job_is_done(python, tmp_path):
    assert "report.html" in python("-m", "labray", "compare", "--quick", "--out", "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "runs.csv", "predictions.csv", "scaling.csv", "calibration.csv", "traces"} <= names
