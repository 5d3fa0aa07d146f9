"""The compiled build: the same traces as the sources', and never in place of sources that were edited since."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest

from tests.kit.paths import ROOT

pytestmark = pytest.mark.processes

SAY = "import labray; print(labray.compiled)"
DIGESTS = """
import json
import labray as ray
from labray import fuzz, trace
from labray.node import node
from labray.schedulers import NAMES
from tests import programs

found = {}
for name in programs.NAMES:
    for policy in NAMES:
        with ray.init("sim", nodes=3, num_cpus=1, scheduler=policy, seed=7, resources={"tape": 2}) as session:
            result = programs.run(name, ray)  # under some policies a wide task has no bound (docs/policies.md)
            assert result == programs.load(name).EXPECTED or name == "wide_in_a_stream"
            found[f"{name} {policy}"] = trace.digest(session.trace())
for seed in range(200):
    found[f"fuzz {seed}"] = trace.digest(fuzz.run(fuzz.case_of(seed)))
print(json.dumps([ray.compiled, node.__file__, found]))
"""


def python(tree: Path, code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What an interpreter says to this, with labray from this tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "LABRAY_PURE": "", **env}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tree, capture_output=True, text=True
    )


# ---------------------------------------------------------------- which code is run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The sources, with a note as a build leaves it; of no modules, so nothing need be compiled."""
    shutil.copytree(
        ROOT / "labray", tmp_path / "labray", ignore=shutil.ignore_patterns("_compiled", "__pycache__")
    )
    sources = {}
    for path in (tmp_path / "labray").rglob("*.py"):
        found, digest = path.stat(), hashlib.sha256(path.read_bytes()).hexdigest()
        sources[path.relative_to(tmp_path / "labray").as_posix()] = (found.st_size, found.st_mtime_ns, digest)
    note(tmp_path, {"suffix": EXTENSION_SUFFIXES[0], "modules": [], "sources": sources})
    return tmp_path


def note(tree: Path, content: dict[str, Any]) -> None:
    (tree / "labray" / "_compiled").mkdir(exist_ok=True)
    (tree / "labray" / "_compiled" / "made_of.json").write_text(json.dumps(content))


def test_a_build_of_these_very_sources_is_used(tree: Path) -> None:
    said = python(tree, SAY)
    assert (said.stdout, said.stderr) == ("True\n", "")


def test_the_sources_are_run_where_nothing_is_compiled(tree: Path) -> None:
    shutil.rmtree(tree / "labray" / "_compiled")
    said = python(tree, SAY)
    assert (said.stdout, said.stderr) == ("False\n", "")


def test_the_sources_are_run_for_who_asks_for_them(tree: Path) -> None:
    said = python(tree, SAY, LABRAY_PURE="1")
    assert (said.stdout, said.stderr) == ("False\n", "")


def test_a_build_for_another_python_is_left_alone(tree: Path) -> None:
    content = json.loads((tree / "labray" / "_compiled" / "made_of.json").read_text())
    note(tree, {**content, "suffix": ".cpython-27-pdp11.so"})
    said = python(tree, SAY)
    assert (said.stdout, said.stderr) == ("False\n", "")


@pytest.mark.parametrize(
    "edit",
    [
        lambda path: path.write_text(path.read_text() + "\n"),
        lambda path: path.write_text(path.read_text().replace("e", "a", 1)),
        lambda path: path.unlink(),
    ],
    ids=["longer", "of the same length", "gone"],
)
def test_an_edited_source_is_never_without_effect(tree: Path, edit: Callable[[Path], object]) -> None:
    edit(tree / "labray" / "fuzz" / "shrink.py")
    said = python(tree, SAY)
    assert said.stdout == "False\n"
    assert "labray/fuzz/shrink.py has changed since labray was compiled" in said.stderr
    assert "make fast" in said.stderr


def test_a_source_that_was_only_touched_has_not_changed(tree: Path) -> None:
    os.utime(tree / "labray" / "ids.py", ns=(1, 1))
    said = python(tree, SAY)
    assert (said.stdout, said.stderr) == ("True\n", "")


# ---------------------------------------------------------------- building


def build(tree: Path, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LABRAY_COMPILE": "1", **env}
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    return subprocess.run(command, env=environment, cwd=tree, capture_output=True, text=True)


def copied(to: Path) -> Path:
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, to)
    shutil.copytree(ROOT / "labray", to / "labray", ignore=shutil.ignore_patterns("_compiled", "__pycache__"))
    return to


def test_without_a_compiler_the_build_ends_with_a_sentence(tmp_path: Path) -> None:
    done = build(copied(tmp_path), CC="no-such-compiler -pthread")
    assert done.returncode == 1
    assert (
        "labray cannot be compiled here for want of a C compiler: there is no 'no-such-compiler'"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "labray" / "_compiled").exists()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with a compiled build: this one, if `make fast` was here, else a copy."""
    if python(ROOT, SAY).stdout == "True\n":
        return ROOT
    tree = copied(tmp_path_factory.mktemp("compiled"))
    shutil.copytree(ROOT / "tests", tree / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    done = build(tree)
    if "cannot be compiled here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return tree


@pytest.mark.slow
@pytest.mark.timeout(900)  # to compile takes a minute and a half, on a busy machine five
def test_the_compiled_build_leaves_the_traces_of_the_sources(compiled: Path) -> None:
    native, sources = (python(compiled, DIGESTS, LABRAY_PURE=pure) for pure in ("", "1"))
    assert native.returncode == sources.returncode == 0, native.stderr + sources.stderr
    was_native, file, digests = json.loads(native.stdout)
    was_pure, source, expected = json.loads(sources.stdout)
    assert (was_native, was_pure) == (True, False)
    assert (Path(file).suffix, Path(source).suffix) == (".so", ".py")
    assert digests == expected
