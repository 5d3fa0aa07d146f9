"""Where a row comes from: the commit, the versions, the machine. And tidy CSV files that say so in every row."""

from __future__ import annotations

import csv
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

import labray
from labray.calibration import machine

PACKAGES = ("labray", "msgspec", "pyzmq", "simpy", "greenlet", "cloudpickle", "numpy", "networkx")
ROOT = Path(labray.__file__).parent.parent
"""The checkout, where labray runs from one; else where it is installed."""


class Provenance(Struct, frozen=True):
    """What every row of one run has in common."""

    commit: str
    versions: str
    machine: str
    at: str
    build: str = "pure"


def here_and_now() -> Provenance:
    """The provenance of what runs in this process."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Provenance(commit(), versions(), machine.described(), at, build())


def build() -> str:
    """Which code of labray runs here: `compiled` (docs/compiled.md), or `pure`."""
    return "compiled" if labray.compiled else "pure"


def commit() -> str:
    """The short hash of this checkout, with a + if it was changed since; `none` outside of one."""
    head = _git("rev-parse", "--short", "HEAD")
    if head is None:
        return "none"
    return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*words: str) -> str | None:
    if not (ROOT / ".git").exists():  # labray is installed, and a repository further up is somebody else's
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def versions() -> str:
    """`python 3.11.7 labray 0.1.0 ...`: what could make the same commit behave differently."""
    return " ".join(
        [f"python {platform.python_version()}", *(f"{name} {_version(name)}" for name in PACKAGES)]
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from source"


def save_rows(path: Path, rows: Sequence[Struct | Mapping[str, Any]], source: Provenance) -> None:
    """Write one line for each row: its own columns first, then where it comes from."""
    flat = [{**(row if isinstance(row, Mapping) else asdict(row)), **asdict(source)} for row in rows]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)
