"""The process that every daemon and worker of a session is forked from, and the parent that reaps them.

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

from labray.backends.cluster.boot import process_start
from labray.backends.cluster.boot.process_start import end_with
from labray.backends.cluster.boot.reaper import GRACE_S, HOOKS_S, ORDERLY_S, Reaper
from labray.backends.cluster.boot.session_parameters import Boot, decode_boot
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
    """driver, driver_link: sockets to the driver, and for its daemon. log_fd: where workers write what they print.

    _daemons: place -> (pid, what is sent to it). _workers: pid -> (place, client).
    """

    def __init__(self, boot: Boot, driver: socket.socket, driver_link: socket.socket, log_fd: int) -> None:
        self._boot = boot
        self._driver = driver
        self._log_fd = log_fd
        self._limits = raise_limit()
        self._driver_link: socket.socket | None = driver_link  # the driver's wire, until its daemon has it
        self._daemons: dict[str, tuple[int, ControlSender]] = {}
        self._workers: dict[int, tuple[str, str]] = {}
        self._pids: dict[str, int] = {}
        self._lost: list[str] = []
        self._reaper = Reaper(boot.monitoring.heartbeat_timeout_s)
        self._poll = select.poll()
        self._who: dict[int, str | int] = {}
        self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._driver_fd = -1
        self._orderly = False  # whether the driver has said that it ends the session

    def run(self) -> None:
        """Serve until the driver ends the session or is dead, or its daemon is dead."""
        process_start.adopt_orphans()
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
        process_start.preload(self._boot.preload)
        while self._turn():
            pass

    def _watch(self, fd: int, who: str | int) -> None:
        self._who[fd] = who
        self._poll.register(fd, select.POLLIN)

    def _turn(self) -> bool:
        """Handle everything that is ready; whether to go on."""
        ready = self._poll.poll(self._timeout_ms())
        self._reaper.kill_due()
        first = self._daemons[self._boot.nodes[0].place][0]  # it hears of the others itself
        self._reaper.declare_dead([*self._workers, first])
        for fd, _ in ready:
            who = self._who.get(fd)
            if who == CHILD_DIED:
                os.read(self._bell[0], 4096)
                if not self._reap():
                    return False
            elif isinstance(who, str):
                if not self._read_daemon(who):
                    return False
            elif who == DRIVER_SPOKE:
                if not self._read_driver():
                    return False
            elif who is not None:  # the driver is dead. (None: a daemon reaped in this very turn)
                return False
        return True

    def _timeout_ms(self) -> int | None:
        """How many milliseconds until something is due. A daemon that does not read (it is stopped) is tried again."""
        due = self._reaper.until()
        if not [place for place, (_, out) in self._daemons.items() if not out.flush()]:
            return due
        return AGAIN_MS if due is None else min(due, AGAIN_MS)

    # ------------------------------------------------------------ what the driver asks for

    def _read_driver(self) -> bool:
        """Obey one message of the driver; whether to go on: when it says nothing more, the session ends."""
        try:
            message = receive_stream(self._driver)
        except OSError:
            return False
        if message is None or message.verb == "end":
            self._orderly = message is not None
            return False
        if message.verb == "join":
            totals = msgspec.json.decode(message.detail, type=Demand)
            self._join(NodeInfo(NodeID(message.subject), totals))
        elif message.verb == "remove" and message.subject in self._daemons:
            os.kill(self._daemons[message.subject][0], signal.SIGKILL)  # and is reaped like any other
        return True

    def _join(self, info: NodeInfo) -> None:
        """Start a daemon. All others are told before, the first one last: whoever hears of it can hear from it."""
        for place, (_, out) in reversed(self._daemons.items()):
            detail = msgspec.json.encode(info.totals).decode()
            assert place != info.place
            out.send(ControlMessage("joined", info.place, detail))
        living = tuple(node for node in self._boot.nodes if node.place in self._daemons)
        self._boot = structs.replace(self._boot, nodes=(*living, info), lost=tuple(self._lost))
        try:
            self._start_daemon(info.place)
        except OSError as error:  # no descriptors, no memory, too many processes: the others live on
            self._tell_of_loss(info.place, f"it could not be started: {described(error)}")

    # ------------------------------------------------------------ what daemons ask for

    def _read_daemon(self, place: str) -> bool:
        end = self._daemons[place][1].end
        while (got := receive(end)) is not None:
            message, fds = got
            if message.verb == "fork":
                self._start_worker(place, message.subject, fds)
            elif message.verb in {"end", "kill"}:
                pid = self._pids.pop(message.subject, None)
                if pid is not None:
                    self._reaper.ask(pid, HOOKS_S if message.verb == "end" else 0.0)
            elif message.verb == "late" and message.subject in self._daemons:
                self._reaper.kill(self._daemons[message.subject][0], message.detail)
            elif message.verb == "late" and message.subject in self._pids:
                self._reaper.kill(self._pids[message.subject], message.detail)
            elif message.verb == "interrupt" and message.subject in self._pids:
                with contextlib.suppress(PermissionError):  # it has become somebody else's
                    os.kill(self._pids[message.subject], signal.SIGINT)
            elif message.verb == "fatal":
                self.tell_driver(message.detail)
                return False
        return True

    def tell_driver(self, text: str) -> None:
        """Tell the driver why the session ends."""
        try:
            self._driver.send(text.encode()[:100_000])
        except OSError:  # it is gone, or has closed its end
            return

    # ------------------------------------------------------------ starts

    def _start_daemon(self, place: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        me = os.getpid()
        driver_link, self._driver_link = self._driver_link, None
        pid = os.fork()
        if pid == 0:
            ours.detach()
            end_with(
                lambda: process_start.be_daemon(me, self._ends(), self._boot, place, theirs, driver_link)
            )
        theirs.close()
        if driver_link is not None:
            driver_link.close()
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
                lambda: process_start.be_worker(
                    me, self._ends(), self._boot, place, client, fds, self._log_fd, self._limits
                )
            )
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(OSError):  # so it is one for sure, whoever is faster; or it has died
            os.setpgid(pid, pid)
        self._workers[pid] = (place, client)
        self._pids[client] = pid

    def _ends(self) -> list[socket.socket]:
        """The sockets that no child may keep."""
        return [self._driver, *(out.end for _, out in self._daemons.values())]

    # ------------------------------------------------------------ ends

    def _reap(self) -> bool:
        """Reap what has ended and tell daemons of their workers; whether the session can go on."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return True
            if dead is None:
                return True
            pid = dead.si_pid
            if pid in self._workers:
                self._reaper.terminate(pid)  # what it has started goes with it
            _, status = os.waitpid(pid, 0)
            if pid in self._workers:
                self._reaper.leader_reaped(pid)
                self._worker_ended(pid, status)
            elif not self._daemon_ended(pid, status):
                return False

    def _worker_ended(self, pid: int, status: int) -> None:
        place, client = self._workers.pop(pid)
        if self._pids.get(client) == pid:
            del self._pids[client]
        if place in self._daemons:
            self._daemons[place][1].send(ControlMessage("gone", client, self._reaper.cause(pid, status)))

    def _daemon_ended(self, pid: int, status: int) -> bool:
        place = next((p for p, (daemon, _) in self._daemons.items() if daemon == pid), None)
        if place is None:
            return True  # an orphan that we adopted
        if place == self._boot.nodes[0].place:
            if self._read_daemon(place):  # unless it said itself why
                self.tell_driver(f"the daemon of {place}, {self._reaper.cause(pid, status)}")
            return False
        cause = self._reaper.cause(pid, status)
        end = self._daemons.pop(place)[1].end
        del self._who[end.fileno()]
        self._poll.unregister(end)
        end.close()
        for worker, (at, _) in self._workers.items():
            if at == place:
                self._reaper.terminate(worker)
        self._tell_of_loss(place, cause)
        return True

    def _tell_of_loss(self, place: str, cause: str) -> None:
        self._lost.append(place)
        for _, other in self._daemons.values():
            other.send(ControlMessage("lost", place, cause))

    def end(self) -> None:
        """End and reap every child, and every orphan that thereby becomes ours; remove the directories."""
        if self._orderly:  # those whom daemons want killed do not get the time of an orderly end
            for place in list(self._daemons):
                self._read_daemon(place)
        grace_s = ORDERLY_S if self._orderly else GRACE_S
        daemons = [pid for pid, _ in self._daemons.values()]
        self._reaper.end_all(daemons, self._workers, self._bell[0], grace_s)
        for directory in self._boot.directories:
            shutil.rmtree(directory, ignore_errors=True)


def main(fd: int, driver_link: int, log_fd: int) -> None:
    """Run a fork server. fd: a socket to the driver, which sends the Boot first. The others are as in ForkServer."""
    driver = socket.socket(fileno=fd)
    with driver.makefile("rb") as file:
        boot = decode_boot(file.read(int.from_bytes(file.read(8), "little")))
    fork_server = ForkServer(boot, driver, socket.socket(fileno=driver_link), log_fd)
    try:
        fork_server.run()
    except Exception:  # noqa: BLE001  (whatever it is, it is told, and ends the session)
        fork_server.tell_driver(f"the process that starts all others failed:\n{traceback.format_exc()}")
    finally:
        fork_server.end()
