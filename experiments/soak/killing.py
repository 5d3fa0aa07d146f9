"""What goes wrong: workers and nodes are killed, or stopped and continued, at Poisson times. All drawn from the seed.

The driver's node lives, and so does the template that all processes are forked from, though it is stopped at times:
without them the session ends.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from labray import session


class Rates(Struct, frozen=True):
    """Events a minute, each kind a Poisson process of its own. Stops last up to so many seconds."""

    kill_worker: float = 20.0
    stop_worker: float = 6.0
    kill_node: float = 3.0
    stop_node: float = 3.0
    stop_template: float = 3.0
    longest_stop_s: float = 1.5
    replace_after_s: float = 0.5

    def times(self, factor: float) -> Rates:
        """The same rates, so many times as high."""
        kinds = ("kill_worker", "stop_worker", "kill_node", "stop_node", "stop_template")
        return replace(self, **{kind: factor * getattr(self, kind) for kind in kinds})


class Real(Protocol):
    """The part of a cluster session that the killer needs."""

    def processes(self) -> Any: ...
    def add_node(self, num_cpus: float, resources: Any) -> str: ...
    @property
    def nodes(self) -> Any: ...


class Daemon(Struct):
    """The daemon of one node. fd: refers to this very process, even if its number is used again."""

    place: str
    pid: int
    fd: int
    born: float


class Killer:
    """A thread that kills and stops. Between `pause` and `resume` all processes run and each lost node is replaced.

    counts: of what was done, by kind. daemons: those that live, by place.
    """

    def __init__(self, rates: Rates, nodes: int, num_cpus: int) -> None:
        self.rates = rates
        self.wanted = nodes
        self.num_cpus = num_cpus
        self.counts: Counter[str] = Counter()
        self.world: Real = session.running()  # type: ignore[assignment]
        self.daemons: dict[str, Daemon] = {}
        self.error: BaseException | None = None
        self._rng = Random(0)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._stopped: dict[int, bool] = {}  # descriptors, and whether they are only for this
        self._running = False
        self._over = False
        self._turn = threading.Condition()
        processes = self.world.processes()
        self.template = int(processes.pop("template"))
        self.template_fd = os.pidfd_open(self.template)
        for place, pid in processes.items():
            self._note(place, pid)
        self.first = next(iter(self.daemons))
        self._thread = threading.Thread(target=self._live, name="killer", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ from outside

    def resume(self, seed: str) -> None:
        """Begin to kill and stop again, as this seed says."""
        with self._turn:
            self._rng = Random(seed)
            for kind, rate, act in (
                ("kill a worker", self.rates.kill_worker, self._kill_worker),
                ("stop a worker", self.rates.stop_worker, self._stop_worker),
                ("kill a node", self.rates.kill_node, self._kill_node),
                ("stop a node", self.rates.stop_node, self._stop_node),
                ("stop the template", self.rates.stop_template, self._stop_template),
            ):
                if rate > 0:
                    self._repeat(kind, rate / 60.0, act)
            self._running = True
            self._turn.notify_all()

    def pause(self) -> None:
        """Let all processes run and replace lost nodes, then wait. Raises what went wrong in the thread."""
        with self._turn:
            self._running = False
            self._events.clear()
            for fd in list(self._stopped):
                self._continue(fd)
            self._replace()
        if self.error is not None:
            raise self.error

    def processes(self) -> list[str]:
        """What the system says of the zygote's children, one line for each."""
        names = {daemon.pid: f"daemon of {place}" for place, daemon in self.daemons.items()}
        return [
            f"process {pid}, {names.get(pid, 'worker')}: {_status(pid)}" for pid in _children(self.template)
        ]

    def close(self) -> None:
        with self._turn:
            self._over = True
            for fd in list(self._stopped):
                self._continue(fd)
            self._turn.notify_all()
        self._thread.join(10.0)
        for fd in (self.template_fd, *(daemon.fd for daemon in self.daemons.values())):
            os.close(fd)

    # ------------------------------------------------------------ the thread

    def _live(self) -> None:
        with self._turn:
            while not self._over:
                due = self._events[0][0] - time.monotonic() if self._running and self._events else None
                if due is None or due > 0:
                    self._turn.wait(due)
                    continue
                _, _, act = heapq.heappop(self._events)
                try:
                    act()
                except Exception as error:  # noqa: BLE001  (told by `pause`)
                    self.error = self.error or error
                    self._events.clear()

    def _at(self, after: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (time.monotonic() + after, self._count, act))

    def _repeat(self, kind: str, rate: float, act: Callable[[], bool]) -> None:
        def once() -> None:
            self.counts[kind] += act()
            self._at(self._rng.expovariate(rate), once)

        self._at(self._rng.expovariate(rate), once)

    # ------------------------------------------------------------ deeds

    def _kill_worker(self) -> bool:
        fd = self._some_worker()
        if fd is not None:
            _signal(fd, signal.SIGKILL)
            os.close(fd)
        return fd is not None

    def _stop_worker(self) -> bool:
        fd = self._some_worker()
        if fd is not None:
            self._stop(fd, its_own=True)
        return fd is not None

    def _some_worker(self) -> int | None:
        """A descriptor of a child of the zygote that is not a daemon."""
        daemons = {daemon.pid for daemon in self.daemons.values()}
        workers = [pid for pid in _children(self.template) if pid not in daemons]
        if not workers:
            return None
        pid = self._rng.choice(workers)
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        if _parent(pid) == self.template:  # asked after: from now on the number cannot be another's
            return fd
        os.close(fd)
        return None

    def _some_node(self) -> Daemon | None:
        others = [daemon for place, daemon in self.daemons.items() if place != self.first]
        return self._rng.choice(others) if others else None

    def _kill_node(self) -> bool:
        daemon = self._some_node()
        if daemon is None:
            return False
        _signal(daemon.fd, signal.SIGKILL)
        self._lost(daemon)
        self._at(self.rates.replace_after_s, self._replace)
        return True

    def _stop_node(self) -> bool:
        daemon = self._some_node()
        if daemon is None or daemon.fd in self._stopped:
            return False
        self._stop(daemon.fd, its_own=False)
        return True

    def _stop_template(self) -> bool:
        """Stop the zygote: meanwhile no process is forked and none that died is reaped."""
        if self.template_fd in self._stopped:
            return False
        self._stop(self.template_fd, its_own=False)
        return True

    def _stop(self, fd: int, its_own: bool) -> None:
        self._stopped[fd] = its_own
        _signal(fd, signal.SIGSTOP)
        self._at(self._rng.uniform(0.05, self.rates.longest_stop_s), lambda: self._continue(fd))

    def _continue(self, fd: int) -> None:
        its_own = self._stopped.pop(fd, None)
        if its_own is not None:
            _signal(fd, signal.SIGCONT)
            if its_own:
                os.close(fd)

    # ------------------------------------------------------------ nodes

    def _lost(self, daemon: Daemon) -> None:
        del self.daemons[daemon.place]
        self._stopped.pop(daemon.fd, None)
        os.close(daemon.fd)

    def _replace(self) -> None:
        """Start nodes in place of the lost ones, and of those that were given up while they were only stopped."""
        if any(fd in self._stopped for fd in (self.template_fd, *(d.fd for d in self.daemons.values()))):
            self._at(0.1, self._replace)  # whoever is stopped cannot answer, and we would wait for it
            return
        alive = {node["NodeID"] for node in self.world.nodes if node["Alive"]}
        for daemon in [daemon for place, daemon in self.daemons.items() if place not in alive]:
            self.counts["given up by the others"] += 1
            self._lost(daemon)
        while len(self.daemons) < self.wanted:
            place = self.world.add_node(self.num_cpus, {})
            self._note(place, self.world.processes()[place])

    def _note(self, place: str, pid: int) -> None:
        self.daemons[place] = Daemon(place, pid, os.pidfd_open(pid), time.monotonic())


def _signal(fd: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(fd, number)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _status(pid: int) -> str:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return f"{state} in {Path(f'/proc/{pid}/wchan').read_text() or 'its own code'}"
    except OSError:
        return "gone"
