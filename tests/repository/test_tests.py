"""The tests themselves: what modules share is in the kit, and a test that starts a process has said so."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.guard import unannounced
from tests.kit.paths import ROOT

TESTS = ROOT / "tests"
MODULES = sorted(TESTS.rglob("*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_no_module_imports_a_module_of_tests(path: Path) -> None:
    tests = {name for name in imported(path) if name.startswith("tests.") and ".test_" in name}
    others = [name for name in tests if name != dotted(path) and not name.startswith(f"{dotted(path)}.")]
    assert not others, f"{dotted(path)} imports {others}: put what they share into tests/kit"


def test_every_test_module_stands_on_a_floor() -> None:
    lost = [path.name for path in TESTS.glob("test_*.py")]
    assert not lost, f"{lost} belong into a folder of tests/"
    assert all((path.parent / "__init__.py").exists() for path in TESTS.rglob("test_*.py"))


def test_a_test_that_is_not_marked_starts_no_process() -> None:
    with pytest.raises(AssertionError, match=r"starts a process \(Popen.__init__\)"):
        subprocess.run([sys.executable, "-c", ""])
    assert unannounced.tried == ["Popen.__init__"]
    unannounced.tried.clear()


@pytest.mark.processes
def test_a_test_that_is_marked_may_start_one() -> None:
    assert subprocess.run([sys.executable, "-c", ""]).returncode == 0
