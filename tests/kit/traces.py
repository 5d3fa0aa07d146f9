"""What a session could leave behind: seen before a test, and looked for after it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import psutil

GRACE_S = 2.0
"""How long what was told to end may take: the system reaps processes in its own time."""


def end_session() -> None:
    """Tests may leave a session open: that is what this is for. Only what survives its end is a fault."""
    labray = sys.modules.get("labray")
    if labray is not None:
        labray.shutdown()  # type: ignore[attr-defined]


class Traces:
    """What a session could leave in this process and on this machine."""

    def __init__(
        self,
        children: set[psutil.Process],
        threads: set[threading.Thread],
        files: set[Path],
        handlers: dict[str, Any],
    ) -> None:
        self.children = children
        self.threads = threads
        self.files = files
        self.handlers = handlers

    @classmethod
    def seen(cls) -> Traces:
        return cls(children(), set(threading.enumerate()), session_files(), handlers())

    def left_since(self) -> list[str]:
        """A sentence each, in a settled order."""
        processes = [f"process {p.pid} {describe(p)}" for p in children() - self.children]
        threads = [f"thread {thread.name}" for thread in set(threading.enumerate()) - self.threads]
        files = [f"{path}" for path in session_files() - self.files]
        port = sys.modules.get("labray.client.runtime")
        ports = ["a current port"] if port is not None and port.exists() else []
        caught = [
            f"a handler of {name}" for name, handler in handlers().items() if handler != self.handlers[name]
        ]
        return [*sorted(processes), *sorted(threads), *sorted(files), *ports, *caught]


def children() -> set[psutil.Process]:
    """All descendants of this process. Asking /proc for one's children costs far less than asking for everyone."""
    if not has_children():
        return set()
    return set(psutil.Process().children(recursive=True))


def has_children() -> bool:
    try:
        tasks = os.listdir("/proc/self/task")
        return any(Path(f"/proc/self/task/{task}/children").read_bytes() for task in tasks)
    except OSError:  # no such file on this kernel, or a thread that just ended
        return True


def handlers() -> dict[str, Any]:
    """What the signals that tests and sessions use do now."""
    return {name: signal.getsignal(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGUSR1")}


def describe(process: psutil.Process) -> str:
    try:
        return f"({process.name()}, {process.status()})"
    except psutil.NoSuchProcess:
        return "(just gone)"


def session_files() -> set[Path]:
    """Session directories and their sockets, of this process: others' tests may run on the same machine."""
    places = {os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp", "/dev/shm"}
    pattern = f"labray-{os.getpid()}-*"
    return {path for place in places if place for path in Path(place).glob(pattern)}


def end_strays(before: Traces) -> None:
    """One test's stray process must not be the next one's."""
    for process in children() - before.children:
        try:
            process.kill()
            process.wait(1.0)
        except (psutil.NoSuchProcess, psutil.TimeoutExpired):
            continue
