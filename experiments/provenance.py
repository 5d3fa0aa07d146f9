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

import psutil
from msgspec import Struct
from msgspec.structs import asdict

import labray

PACKAGES = ("labray", "msgspec", "pyzmq", "simpy", "greenlet", "cloudpickle", "numpy", "networkx")
ROOT = Path(__file__).parent.parent


class Origin(Struct, frozen=True):
    """What every row of one experiment has in common."""

    commit: str
    versions: str
    machine: str
    at: str
    build: str = "pure"


def origin() -> Origin:
    """Of what runs here and now."""
    return Origin(commit(), versions(), machine(), datetime.now(UTC).isoformat(timespec="seconds"), build())


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
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def versions() -> str:
    return " ".join(
        [f"python {platform.python_version()}", *(f"{name} {_version(name)}" for name in PACKAGES)]
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from source"


def cores() -> int:
    """CPUs that this process may use."""
    try:
        return len(psutil.Process().cpu_affinity() or ()) or psutil.cpu_count() or 1
    except (AttributeError, psutil.Error):  # there is no affinity on macOS
        return psutil.cpu_count() or 1


def machine() -> str:
    memory_GiB = psutil.virtual_memory().total / 2**30
    return f"{cores()} cores of {platform.machine()}, {memory_GiB:.0f} GiB, {platform.system()} {platform.release()}"


def save_rows(path: Path, rows: Sequence[Struct | Mapping[str, Any]], origin: Origin) -> None:
    """One line a row, its own columns first, then where it comes from."""
    flat = [{**(row if isinstance(row, Mapping) else asdict(row)), **asdict(origin)} for row in rows]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)
