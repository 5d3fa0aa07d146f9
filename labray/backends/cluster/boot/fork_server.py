"""The process that every daemon and worker of a session is forked from, and the parent that buries them.

A fresh single-threaded interpreter, started by the driver; it imports what workers need, holds no zmq context and runs
no user code, so a fork costs 2 ms instead of a new Python's 110. It watches the driver by pidfd (a pipe would be
kept open by whatever the user forks) and ends everything when the driver ends, by whatever cause. If it is
killed itself, the kernel kills its children.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import traceback

import msgspec
from msgspec import structs

from labray.backends.cluster.boot import process_start as booting
from labray.backends.cluster.boot.process_start import Boot, decode_boot, end_with
from labray.backends.cluster.boot.reaper import GRACE_S, HOOKS_S, ORDERLY_S, Reaper
from labray.backends.cluster.wire.control_messages import (
    ControlMessage,
    ControlSender,
    receive,
    receive_stream,
)
from labray.backends.cluster.wire.file_descriptors import EXHAUSTED, described, raise_limit
from labray.ids import NodeID
from labray.messages import Demand
from labray.scheduling import NodeInfo

AGAIN_MS = 20
CHILD_DIED, DRIVER_DIED, DRIVER_SPOKE = -1, -2, -3


class ForkServer:
    """daemons: place -> (pid, what we say to it). workers: pid -> (place, client)."""

    def __init__(self, boot: Boot, driver: socket.socket, line: socket.socket, speech: int) -> None:
        self._boot = boot
        self._driver = driver
        self._speech = speech
        self._limits = raise_limit()
        self._line: socket.socket | None = line  # the driver's wire, until its daemon has it
        self._daemons: dict[str, tuple[int, ControlSender]] = {}
        self._workers: dict[int, tuple[str, str]] = {}
        self._pids: dict[str, int] = {}
        self._lost: list[str] = []
        self._undertaker = Reaper(boot.watches.heartbeat_timeout_s)
        self._poll = select.poll()
        self._who: dict[int, str | int] = {}
        self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._driver_fd = -1
        self._orderly = False  # whether the driver has said that it ends the session

    def run(self) -> None:
        """Until the driver says so, or is dead, or its daemon is."""
        booting.adopt_orphans()
        try:
            self._driver_fd = os.pidfd_open(self._boot.driver_pid)
        except ProcessLookupError:
            return
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._bell[1], warn_on_full_buffer=False)
        self._watch(self._bell[0], CHILD_DIED)
        self._watch(self._driver_fd, DRIVER_DIED)
        self._watch(self._driver.fileno(), DRIVER_SPOKE)
        for node in self._boot.nodes:
            self._start_daemon(node.place)
        booting.preload(self._boot.preload)
        while self._turn():
            pass

    def _watch(self, fd: int, who: str | int) -> None:
        self._who[fd] = who
        self._poll.register(fd, select.POLLIN)

    def _turn(self) -> bool:
        """Handle what is there; whether to go on."""
        ready = self._poll.poll(self._patience())
        self._undertaker.kill_due()
        first = self._daemons[self._boot.nodes[0].place][0]  # it hears of the others itself
        self._undertaker.declare_dead([*self._workers, first])
        for fd, _ in ready:
            who = self._who.get(fd)
            if who == CHILD_DIED:
                os.read(self._bell[0], 4096)
                if not self._bury():
                    return False
            elif isinstance(who, str):
                if not self._serve(who):
                    return False
            elif who == DRIVER_SPOKE:
                if not self._obey_driver():
                    return False
            elif who is not None:  # the driver is dead. (None: a daemon buried in this very turn)
                return False
        return True

    def _patience(self) -> int | None:
        """Milliseconds until something is due. A daemon that does not listen (it is stopped) is tried again then."""
        due = self._undertaker.until()
        if not [place for place, (_, out) in self._daemons.items() if not out.flush()]:
            return due
        return AGAIN_MS if due is None else min(due, AGAIN_MS)

    # ------------------------------------------------------------ errands for the driver

    def _obey_driver(self) -> bool:
        """Whether to go on: at the end of what it says, the session ends."""
        try:
            errand = receive_stream(self._driver)
        except OSError:
            return False
        if errand is None or errand.verb == "end":
            self._orderly = errand is not None
            return False
        if errand.verb == "join":
            totals = msgspec.json.decode(errand.detail, type=Demand)
            self._join(NodeInfo(NodeID(errand.subject), totals))
        elif errand.verb == "remove" and errand.subject in self._daemons:
            os.kill(self._daemons[errand.subject][0], signal.SIGKILL)  # and is buried like any other
        return True

    def _join(self, info: NodeInfo) -> None:
        """All others are told before it is born, the first last: whoever hears of it can hear from it."""
        for place, (_, out) in reversed(self._daemons.items()):
            detail = msgspec.json.encode(info.totals).decode()
            assert place != info.place
            out.send(ControlMessage("joined", info.place, detail))
        living = tuple(node for node in self._boot.nodes if node.place in self._daemons)
        self._boot = structs.replace(self._boot, nodes=(*living, info), lost=tuple(self._lost))
        try:
            self._start_daemon(info.place)
        except OSError as error:  # no descriptors, no memory, too many processes: the others live on
            self._lose(info.place, f"it could not be started: {described(error)}")

    # ------------------------------------------------------------ errands for daemons

    def _serve(self, place: str) -> bool:
        end = self._daemons[place][1].end
        while (got := receive(end)) is not None:
            errand, fds = got
            if errand.verb == "fork":
                self._start_worker(place, errand.subject, fds)
            elif errand.verb in {"end", "kill"}:
                pid = self._pids.pop(errand.subject, None)
                if pid is not None:
                    self._undertaker.ask(pid, HOOKS_S if errand.verb == "end" else 0.0)
            elif errand.verb == "late" and errand.subject in self._daemons:
                self._undertaker.kill(self._daemons[errand.subject][0], errand.detail)
            elif errand.verb == "late" and errand.subject in self._pids:
                self._undertaker.kill(self._pids[errand.subject], errand.detail)
            elif errand.verb == "interrupt" and errand.subject in self._pids:
                with contextlib.suppress(PermissionError):  # it has become somebody else's
                    os.kill(self._pids[errand.subject], signal.SIGINT)
            elif errand.verb == "fatal":
                self.tell_driver(errand.detail)
                return False
        return True

    def tell_driver(self, text: str) -> None:
        """The last words of a session."""
        try:
            self._driver.send(text.encode()[:100_000])
        except OSError:  # it is gone, or has closed: nobody to tell
            return

    # ------------------------------------------------------------ births

    def _start_daemon(self, place: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        me = os.getpid()
        line, self._line = self._line, None
        pid = os.fork()
        if pid == 0:
            ours.detach()
            end_with(lambda: booting.be_daemon(me, self._ends(), self._boot, place, theirs, line))
        theirs.close()
        if line is not None:
            line.close()
        self._daemons[place] = (pid, ControlSender(ours))
        self._watch(ours.fileno(), place)

    def _start_worker(self, place: str, client: str, fds: list[int]) -> None:
        me = os.getpid()
        try:
            if len(fds) < 2:
                raise OSError(*EXHAUSTED)
            pid = os.fork()
        except OSError as error:  # no memory, too many processes, or no room for its pipe
            for fd in fds:
                os.close(fd)
            why = f"it could not be started: {described(error)}"
            self._daemons[place][1].send(ControlMessage("gone", client, why))
            return
        if pid == 0:
            end_with(
                lambda: booting.be_worker(
                    me, self._ends(), self._boot, place, client, fds, self._speech, self._limits
                )
            )
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(OSError):  # so it is one for sure, whoever is faster; or it has died
            os.setpgid(pid, pid)
        self._workers[pid] = (place, client)
        self._pids[client] = pid

    def _ends(self) -> list[socket.socket]:
        """What is ours alone."""
        return [self._driver, *(out.end for _, out in self._daemons.values())]

    # ------------------------------------------------------------ deaths

    def _bury(self) -> bool:
        """Reap; tell daemons of their workers; whether the session can go on."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return True
            if dead is None:
                return True
            pid = dead.si_pid
            if pid in self._workers:
                self._undertaker.end(pid)  # what it has started goes with it
            _, status = os.waitpid(pid, 0)
            if pid in self._workers:
                self._undertaker.leader_reaped(pid)
                self._bury_worker(pid, status)
            elif not self._bury_daemon(pid, status):
                return False

    def _bury_worker(self, pid: int, status: int) -> None:
        place, client = self._workers.pop(pid)
        if self._pids.get(client) == pid:
            del self._pids[client]
        if place in self._daemons:
            self._daemons[place][1].send(ControlMessage("gone", client, self._undertaker.cause(pid, status)))

    def _bury_daemon(self, pid: int, status: int) -> bool:
        place = next((p for p, (daemon, _) in self._daemons.items() if daemon == pid), None)
        if place is None:
            return True  # an orphan that we adopted
        if place == self._boot.nodes[0].place:
            if self._serve(place):  # unless it said itself why
                self.tell_driver(f"the daemon of {place}, {self._undertaker.cause(pid, status)}")
            return False
        cause = self._undertaker.cause(pid, status)
        end = self._daemons.pop(place)[1].end
        del self._who[end.fileno()]
        self._poll.unregister(end)
        end.close()
        for worker, (at, _) in self._workers.items():
            if at == place:
                self._undertaker.end(worker)
        self._lose(place, cause)
        return True

    def _lose(self, place: str, cause: str) -> None:
        self._lost.append(place)
        for _, other in self._daemons.values():
            other.send(ControlMessage("lost", place, cause))

    def end(self) -> None:
        """End and reap every child, and every orphan that thereby becomes ours; remove the directories."""
        if (
            self._orderly
        ):  # whom to kill was said before: it does not get the time to do what it does at its end
            for place in list(self._daemons):
                self._serve(place)
        grace_s = ORDERLY_S if self._orderly else GRACE_S
        daemons = [pid for pid, _ in self._daemons.values()]
        self._undertaker.end_all(daemons, self._workers, self._bell[0], grace_s)
        for directory in self._boot.directories:
            shutil.rmtree(directory, ignore_errors=True)


def main(fd: int, line: int, speech: int) -> None:
    """The life of a template. fd: a socket to the driver, which sends the Boot first. line: for its daemon.

    speech: where workers write what they print.
    """
    driver = socket.socket(fileno=fd)
    with driver.makefile("rb") as file:
        boot = decode_boot(file.read(int.from_bytes(file.read(8), "little")))
    template = ForkServer(boot, driver, socket.socket(fileno=line), speech)
    try:
        template.run()
    except Exception:  # noqa: BLE001  (whatever it is, it is told, and ends the session)
        template.tell_driver(f"the process that starts all others failed:\n{traceback.format_exc()}")
    finally:
        template.end()
