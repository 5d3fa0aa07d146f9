"""The machine that this process runs on: its cores, its description, and how much CPU time it has spent."""

from __future__ import annotations

import platform

import psutil


def cores() -> int:
    """How many CPUs this process may use."""
    try:
        return len(psutil.Process().cpu_affinity() or ()) or psutil.cpu_count() or 1
    except (AttributeError, psutil.Error):  # there is no affinity on macOS
        return psutil.cpu_count() or 1


def described() -> str:
    """`2 cores of x86_64, 8 GiB, Linux 6.18`."""
    memory_GiB = psutil.virtual_memory().total / 2**30
    return f"{cores()} cores of {platform.machine()}, {memory_GiB:.0f} GiB, {platform.system()} {platform.release()}"


def machine_cpu_s() -> float:
    """CPU seconds that all programs on this machine have used."""
    times = psutil.cpu_times()
    return float(times.user + times.system)


def own_cpu_s() -> float:
    """CPU seconds of this process and its descendants: of the living, and of those that their parents have reaped."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return float(
        sum(
            used.user
            + used.system
            + getattr(used, "children_user", 0.0)
            + getattr(used, "children_system", 0.0)
            for used in times  # (there is no time of children on Windows)
        )
    )
