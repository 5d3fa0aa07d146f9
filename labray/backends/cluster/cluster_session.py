"""Starting and ending a session on this machine: its directory, its fork server, the driver's channel."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from labray.backends.cluster.boot import monitor_options
from labray.backends.cluster.boot.process_start import fill_standard
from labray.backends.cluster.boot.session_directories import SessionDirectory
from labray.backends.cluster.boot.session_parameters import Boot, encode_boot
from labray.backends.cluster.client.cluster_channel import ClusterChannel
from labray.backends.cluster.client.driver_wire import DriverWire
from labray.backends.cluster.client.log_forwarding import LogForwarder
from labray.backends.cluster.client.state_client import StateClient
from labray.backends.cluster.store import store_limits
from labray.backends.cluster.wire import control_messages
from labray.backends.cluster.wire.control_messages import ControlMessage
from labray.backends.cluster.wire.file_descriptors import need
from labray.backends.cluster.wire.pipe import pair
from labray.client.process import Process
from labray.config import describe_node, node_info, processes
from labray.errors import NotInitializedError, SessionError
from labray.ids import NodeID
from labray.scheduling import NodeInfo
from labray.serialization import codec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labray.client.runtime import Runtime
    from labray.config import Config
    from labray.messages.audit_reports import Held
    from labray.trace import Event

BOOT_S = 30.0
END_S = 5.0
START_FDS = 24
"""How many descriptors a driver needs to start a session; half of them are for a moment only."""
PRELOAD = (
    "labray.client.executor",
    "labray.backends.cluster.worker.worker_process",
    "cloudpickle",
    "numpy",
    "numpy.random",
)
_PROGRAM = """
import sys
ends, sys.path[:], sys.argv[1:] = sys.argv[1:4], sys.argv[4:], []
try:
    from labray.backends.cluster.boot.fork_server import main
except BaseException:
    import os, traceback
    told = "its first process could not start:\\n" + traceback.format_exc()
    os.write(int(ends[0]), told.encode())
    sys.exit(1)
main(*map(int, ends))
"""
"""Nothing is imported before the path is the driver's: what it would find first may be anybody's json.py."""


class ClusterSession:
    """A labray.backends.contract.Session. Made by `start`."""

    def __init__(self, config: Config) -> None:
        self._pid = os.getpid()
        self._closing = threading.RLock()  # a signal handler may call while its thread is here
        self._closed = False
        self._past: list[Event] = []
        need(START_FDS)
        fill_standard()
        self._boot, self._directories = _boot(config)
        self._control, theirs = socket.socketpair()
        line, far_end = pair()
        self._wire = DriverWire(line, self._control)
        self._log_forwarder = LogForwarder()
        self._state_client = StateClient(self._boot, self._control)
        self._named = len(self._boot.nodes)
        try:
            self._fork_server = _spawn(theirs, far_end, self._log_forwarder.theirs)
            self._log_forwarder.begin()
            data = encode_boot(self._boot)
            with contextlib.suppress(ConnectionError):  # it is dead already: `greet` says why
                self._control.sendall(len(data).to_bytes(8, "little") + data)
            first = self._boot.nodes[0].place
            self._wire.greet(BOOT_S)
            self.channel = ClusterChannel(self._wire, first, self._boot.driver, self._boot.directory)
            process = Process(self.channel, self._boot.session)
            self.channel.watch_handles(process.handles.dying, process.drop_dead_handles_unless_busy)
            self.channel.on_answer(process.requests.received)
            self.runtime: Runtime = process
        except BaseException:
            self._end()
            raise

    def trace(self) -> Sequence[Event]:
        """All that happened so far, ordered by time. After close: what had happened when it was last asked."""
        if self._closed:
            return list(self._past)
        self._past = self._state_client.events()
        return list(self._past)

    def held(self) -> Sequence[Held]:
        """What each living place holds, the head's too."""
        return [held for account in self._state_client.accounts().values() for held in account.places]

    def processes(self) -> Mapping[str, int]:
        """The process numbers of the living daemons, by node, and of the fork server (`template`)."""
        daemons = {place: account.pid for place, account in self._state_client.accounts().items()}
        return {**daemons, "template": self._fork_server.pid}

    # ------------------------------------------------------------ nodes

    @property
    def resources(self) -> Mapping[str, float]:
        """The resources of the living nodes together."""
        totals: dict[str, float] = {}
        for node in self.nodes:
            for name, amount in node["Resources"].items() if node["Alive"] else ():
                totals[name] = totals.get(name, 0.0) + amount
        return totals

    @property
    def nodes(self) -> Sequence[Mapping[str, Any]]:
        """All nodes, lost ones included, as the first node knows them."""
        return [
            describe_node(NodeInfo(NodeID(entry.place), entry.totals), entry.alive)
            for entry in self._state_client.roster()
        ]

    def add_node(self, num_cpus: float, resources: Mapping[str, float]) -> str:
        """Start one more node; returns its name once tasks can be sent there."""
        info = node_info(f"n{self._named}", num_cpus, resources)
        self._named += 1
        totals = msgspec.json.encode(info.totals).decode()
        self._tell_fork_server(ControlMessage("join", info.place, totals))
        self._state_client.await_places({info.place}, True, BOOT_S)
        return info.place

    def remove_node(self, name: str) -> None:
        """Kill a node and all its processes; the others have been told when this returns."""
        if name == self._boot.nodes[0].place:
            raise ValueError(f"{name} runs the head and the main program's side: it ends with the session.")
        if not any(entry.place == name and entry.alive for entry in self._state_client.roster()):
            raise ValueError(f"{name!r} is not a living node.")
        self._tell_fork_server(ControlMessage("remove", name))
        self._state_client.await_places({name}, False, BOOT_S)

    def _tell_fork_server(self, message: ControlMessage) -> None:
        try:
            control_messages.send_stream(self._control, message)
        except OSError as error:
            raise SessionError("the session has ended: its first process is gone") from error

    def close(self) -> None:
        """Idempotent. Everything that was started is gone when this returns. In a forked child it does nothing."""
        with self._closing:
            if self._closed or os.getpid() != self._pid:
                return
            self.channel.end(NotInitializedError("this session was shut down: call labray.init() first."))
            self._end()
            self._closed = True  # interrupted before, it is done again

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # it has gone already
            control_messages.send_stream(self._control, ControlMessage("end", ""))
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)  # close() is not heard while a forked child holds a copy
        self._control.close()
        fork_server = getattr(self, "_fork_server", None)
        if fork_server is not None:
            _await(fork_server)
        self._log_forwarder.finish()
        self._wire.close()
        for directory in self._directories:
            directory.remove()


def _await(fork_server: subprocess.Popen[bytes]) -> None:
    """Wait for its end; kill it if it takes too long. Not with Popen.wait: an interrupt in it keeps its lock locked."""
    deadline, pause = time.monotonic() + END_S, 0.0005
    while fork_server.returncode is None:
        try:
            if os.waitpid(fork_server.pid, os.WNOHANG)[0]:
                fork_server.returncode = 0
        except ChildProcessError:  # it was seen to end before
            fork_server.returncode = 0
        if time.monotonic() > deadline:  # the kernel ends its children with it
            os.kill(fork_server.pid, signal.SIGKILL)
            deadline = math.inf
        if fork_server.returncode is None:
            time.sleep(pause)
            pause = min(2 * pause, 0.02)


def _boot(config: Config) -> tuple[Boot, Sequence[SessionDirectory]]:
    """What all processes are told, and the directories that are removed at the end."""
    extra = dict(config.extra)
    session = secrets.token_hex(4)
    cluster = config.cluster()
    monitoring = monitor_options.read(extra)
    max_workers = processes("max_workers", extra.get("max_workers"), 1)
    prestart = processes("prestart", extra.get("prestart"), 0)
    store_bytes = store_limits.store_bytes(extra.get("object_store_memory"), config.nodes)
    spilling = store_limits.spilling_root(extra.get("object_spilling_directory"))
    scheduler = codec.dumps(config.scheduler)
    directories = _directories(spilling)
    boot = Boot(
        session=session,
        directory=directories[0].path,
        token=secrets.token_hex(16),
        driver_pid=os.getpid(),
        nodes=cluster.nodes,
        head=cluster.head,
        scheduler=scheduler,
        seed=config.seed,
        strict=config.strict,
        max_workers=max_workers,
        prestart=prestart,
        trace=config.trace,
        preload=PRELOAD,
        monitoring=monitoring,
        store_bytes=store_bytes,
        spill_directory=_spill_directory(directories),
    )
    return boot, directories


def _directories(spilling: str) -> Sequence[SessionDirectory]:
    """The session's own, with a path short enough for a socket's address (107 bytes), and one for what is spilled.

    The latter is in the former if that is where files should be (a directory of the user's runtime is in memory).
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not (runtime and len(runtime) < 60 and os.path.isdir(runtime) and os.access(runtime, os.W_OK)):
        runtime = tempfile.gettempdir()
    if len(runtime) > 60:
        runtime = "/tmp"
    own = SessionDirectory(runtime)
    if runtime == spilling:
        return (own,)
    try:
        return own, SessionDirectory(spilling)
    except OSError as error:
        own.remove()
        raise ValueError(
            f"object_spilling_directory: cannot write to {spilling!r}: {error.strerror}."
        ) from None


def _spill_directory(directories: Sequence[SessionDirectory]) -> str:
    if len(directories) > 1:
        return directories[1].path
    path = os.path.join(directories[0].path, "spilled")
    os.mkdir(path, 0o700)
    return path


def _spawn(theirs: socket.socket, line: socket.socket, log_fd: int) -> subprocess.Popen[bytes]:
    """A fresh interpreter in a session of its own, so that a Ctrl-C at the terminal reaches the driver alone.

    theirs: its end of the control socket. line: the end of the driver's wire that its daemon will have. log_fd: where
    workers write what they print.
    """
    environment = dict(os.environ)  # workers share the cores; and a process with threads cannot be forked
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(name, "1")
    ends = (theirs.fileno(), line.fileno(), log_fd)
    with theirs, line:
        return subprocess.Popen(
            [sys.executable, *_flags(), "-c", _PROGRAM, *map(str, ends), *map(str, sys.path)],
            stdin=subprocess.DEVNULL,
            pass_fds=ends,
            start_new_session=True,
            env=environment,
        )


def _flags() -> Sequence[str]:
    """The driver's own (-I, -X dev, -W ...), and no directory before Python's own modules."""
    own: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    return [*own, "-P"]
