"""A session's directories: nobody else's session removes them, and nothing in the current directory is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labray.backends.cluster.boot import session_directories
from labray.backends.cluster.boot.session_directories import SessionDirectory, sweep

GONE = 999_999_999
"""No process has this number."""


def test_what_nobody_holds_is_swept_if_it_is_ours(tmp_path: Path) -> None:
    left, target = tmp_path / f"labray-{GONE}-aaa", tmp_path / "precious"
    link, old = tmp_path / f"labray-{GONE}-ccc", tmp_path / f"labray-{os.getpid()}-ddd"
    for directory in (left, target, old):
        directory.mkdir()
    (left / "spilled").write_text("x")
    link.symlink_to(target)
    sweep(str(tmp_path))
    assert not left.exists() and target.exists() and link.is_symlink() and old.exists()


def test_a_live_session_is_not_swept_whatever_its_process_number_means_here(tmp_path: Path) -> None:
    """In another pid namespace, or on another host, it means nothing."""
    held = SessionDirectory(str(tmp_path))
    foreign = tmp_path / f"labray-{GONE}-xyz"
    os.rename(held.path, foreign)
    sweep(str(tmp_path))
    assert foreign.exists()
    held.remove()
    sweep(str(tmp_path))
    assert not foreign.exists()


@pytest.mark.processes
def test_a_directory_ends_with_its_holder(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom labray.backends.cluster.boot.session_directories import SessionDirectory\n"
        "print(SessionDirectory(sys.argv[1]).path, flush=True)\nos.kill(os.getpid(), 9)"
    )
    run = [sys.executable, "-c", program, str(tmp_path)]
    left = Path(subprocess.run(run, capture_output=True, text=True, timeout=30).stdout.strip())
    assert left.exists()
    sweep(str(tmp_path))
    assert not left.exists()


def test_a_session_that_ends_while_another_sweeps_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = tmp_path / f"labray-{GONE}-aaa"
    ending.mkdir()
    entries = list(os.scandir(tmp_path))
    ending.rmdir()
    monkeypatch.setattr(os, "scandir", lambda path: entries)
    sweep(str(tmp_path))


def test_a_sweep_that_comes_before_the_lock_costs_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, stolen = session_directories._lock, []

    def late(path: str) -> int | None:
        if not stolen:
            stolen.append(path)
            fd = lock(path)
            os.rmdir(path)  # what a sweep does that was faster
            return fd
        return lock(path)

    monkeypatch.setattr(session_directories, "_lock", late)
    made = SessionDirectory(str(tmp_path))
    assert os.path.isdir(made.path) and made.path not in stolen
    made.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
@pytest.mark.parametrize("flags", [["-I"], ["-P"], []], ids=["isolated", "safe", "plain"])
def test_modules_of_the_current_directory_are_not_run(tmp_path: Path, flags: list[str]) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    for name in ("json", "re", "enum", "socket", "msgspec"):
        (here / f"{name}.py").write_text(f"print('{name}.py was run'); raise SystemExit(1)")
    script = there / "program.py"
    script.write_text(
        "import labray\nlabray.init('cluster', num_cpus=1)\n"
        "print(labray.get(labray.remote(lambda: 'fine').remote()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(session_directories.__file__).parents[3])}
    if "-I" in flags:
        environment["PYTHONPATH"] = str(here)  # which an isolated driver does not look at
    done = subprocess.run(
        [sys.executable, *flags, str(script)],
        cwd=here, env=environment, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr
