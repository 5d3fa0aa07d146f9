"""What a simulated process is to the operating system: a number, something that signals end, and nothing more.

All of them are one real process. So a task cannot fork, start threads or become another program: it is told so at
once. The driver can: it is the real process, and a forked child of it is a real one that has no session.
"""

from __future__ import annotations

import _posixsubprocess
import _thread
import os
import signal
import sys
import threading
from errno import ESRCH
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from labray.backends.sim.clients.simulated_worker import SimWorker
from labray.errors import LabraySystemError
from labray.ids import ClientID

if TYPE_CHECKING:
    from labray.backends.sim.clients.client_world import ClientWorld
    from labray.backends.sim.clients.simulated_client import SimClient
    from labray.backends.sim.clock.patches import Patches

FIRST_PID = 1 << 22
"""Linux gives smaller ones: no signal for a simulated process reaches a real one."""
_HARMLESS = frozenset({signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGINT})
"""Ctrl-C is the main program's: workers do not heed it, real ones neither."""
_STOPPING = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})

NO_FORK = (
    "a simulated task cannot fork, and multiprocessing cannot start a process in it: all tasks of a simulation are one "
    "process. Use tasks and actors (they are its processes), or backend='cluster'."
)
NO_THREAD = (
    "a simulated task cannot start a thread: the simulator runs on one, in virtual time. Use tasks and actors (they "
    "run side by side), or backend='cluster'."
)
NO_EXEC = (
    "a simulated task cannot become another program: all tasks of a simulation are one process. "
    "Use subprocess.run(), or backend='cluster'."
)


def install(patches: Patches, world: ClientWorld) -> None:
    """Process numbers, signals and ends of simulated processes; what cannot be is refused."""
    numbers = ProcessNumbers(world)
    in_tasks = patches.replace_in_tasks
    in_tasks(os, "_exit", lambda worker, status: worker.exit(f"it called os._exit({status})"))
    in_tasks(os, "abort", lambda worker: worker.exit("it called os.abort()"))
    in_tasks(os, "getpid", lambda worker: numbers.number_of(worker.client))
    in_tasks(os, "getppid", lambda worker: numbers.number_of(worker.daemon.name))
    kill = os.kill

    def kills(client: SimClient, pid: int, number: int) -> None:
        (kill if pid < FIRST_PID else partial(numbers.signal, client))(pid, number)

    patches.replace(os, "kill", kills)
    for module, name, why in (
        (os, "fork", NO_FORK), (os, "forkpty", NO_FORK), (_posixsubprocess, "fork_exec", NO_FORK),
        (os, "execv", NO_EXEC), (os, "execve", NO_EXEC),
        (threading.Thread, "start", NO_THREAD), (_thread, "start_new_thread", NO_THREAD),
    ):  # fmt: skip
        in_tasks(module, name, partial(_refuse, why))


def _refuse(why: str, worker: SimWorker, *args: Any, **kwargs: Any) -> NoReturn:
    raise LabraySystemError(why)


class ProcessNumbers:
    """The numbers of the processes that asked for theirs, and what happens to who is sent a signal."""

    def __init__(self, world: ClientWorld) -> None:
        self._world = world
        self._numbers: dict[str, int] = {}

    def number_of(self, name: str) -> int:
        """Of a worker, or of its node's daemon."""
        return self._numbers.setdefault(name, FIRST_PID + len(self._numbers))

    def signal(self, client: SimClient, pid: int, number: int) -> None:
        """Any signal ends a worker, but for those that by default do nothing, and those that it handles itself."""
        world = self._world
        name = next((name for name, its in self._numbers.items() if its == pid), "")
        victim = world.clients.get(ClientID(name))
        if not isinstance(victim, SimWorker):
            raise ProcessLookupError(ESRCH, os.strerror(ESRCH))
        if number in _STOPPING:
            raise LabraySystemError("a simulated process cannot be stopped: it can only be killed.")
        if not number or number in _HARMLESS:
            return
        handler = signal.getsignal(number)
        if victim is client and callable(handler):  # it is the real process's, and so the task's
            handler(int(number), sys._getframe())
            return
        if victim is client:
            victim.exit(f"it sent itself signal {int(number)}")
        reason = f"it was sent signal {int(number)}"
        world.events.after(0.0, lambda moment: world.worker_lost(ClientID(name), reason))
