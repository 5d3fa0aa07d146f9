"""Starting and ending a session on this machine: its directory, its template process, the driver's channel."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import cloudpickle
import psutil
import zmq

from labray.backends.cluster.boot import Boot, encode_boot
from labray.backends.cluster.channel import WireChannel
from labray.backends.cluster.frames import TRACE
from labray.backends.cluster.spool import read_chunk
from labray.backends.cluster.wires import ZmqWire, dealer
from labray.errors import NotInitializedError, SessionError
from labray.process import Process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labray.config import Config
    from labray.port import Port
    from labray.trace import Event

BOOT_S = 30.0
END_S = 5.0
PRELOAD = ("labray.executor", "labray.backends.cluster.worker", "cloudpickle", "numpy", "numpy.random")
_PROGRAM = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from labray.backends.cluster.template import main; main(int(sys.argv[2]))"
)


class ClusterSession:
    """A labray.port.Session. Made by `start`."""

    def __init__(self, config: Config) -> None:
        self.resources: Mapping[str, float] = config.total_resources()
        self.nodes: Sequence[Mapping[str, Any]] = config.describe_nodes()
        self._pid = os.getpid()
        self._closing = threading.Lock()
        self._closed = False
        self._past: list[Event] = []
        self._boot = _boot(config)
        self._wire: ZmqWire | None = None
        self._control, theirs = socket.socketpair()
        try:
            self._template = _spawn(theirs)
            data = encode_boot(self._boot)
            self._control.sendall(len(data).to_bytes(8, "little") + data)
            first = self._boot.nodes[0].place
            self._wire = ZmqWire(self._boot.driver, self._boot.token, self._boot.path(first), self._control)
            self._wire.greet(BOOT_S)
            self.channel = WireChannel(self._wire, first, self._boot.driver, self._boot.directory)
            process = Process(self.channel, self._boot.session)
            self.channel.on_late(process.discard)
            self.port: Port = process
        except BaseException:
            self._end()
            raise

    def trace(self) -> Sequence[Event]:
        """All that happened so far, ordered by time. After close: what had happened when it was last asked."""
        if self._closed:
            return list(self._past)
        events: list[Event] = []
        with zmq.Context() as context:
            for node in self._boot.nodes:
                events += self._fetch(context, node.place)
        events.sort(key=lambda event: event[0])
        self._past = events
        return list(events)

    def _fetch(self, context: zmq.Context[Any], place: str) -> list[Event]:
        path = self._boot.path(place)
        events: list[Event] = []
        with dealer(context, f"{self._boot.driver}+trace", self._boot.token, path) as end:
            poller = zmq.Poller()
            poller.register(end, zmq.POLLIN)
            poller.register(self._control.fileno(), zmq.POLLIN)
            end.send(TRACE)
            while True:
                ready = dict(poller.poll())
                if self._control.fileno() in ready:
                    raise SessionError("the session has ended: its trace is lost")
                _, chunk = end.recv_multipart()
                if not chunk:
                    return events
                events += read_chunk(chunk)

    def close(self) -> None:
        """Idempotent. Everything that was started is gone when this returns. In a forked child it does nothing."""
        with self._closing:
            if self._closed or os.getpid() != self._pid:
                return
            self._closed = True
        self.channel.close(NotInitializedError("this session was shut down: call labray.init() first."))
        self._end()

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # it has gone already
            self._control.shutdown(socket.SHUT_RDWR)  # close() is not heard while a forked child holds a copy
        self._control.close()
        template = getattr(self, "_template", None)
        if template is not None:
            try:
                template.wait(END_S)
            except subprocess.TimeoutExpired:  # the kernel ends its children with it
                template.send_signal(signal.SIGKILL)
                template.wait()
        if self._wire is not None:
            self._wire.close()
        shutil.rmtree(self._boot.directory, ignore_errors=True)


def _boot(config: Config) -> Boot:
    extra = dict(config.extra)
    unknown = sorted(set(extra) - {"max_workers", "prestart"})
    if unknown:
        raise TypeError(
            f"init() got {unknown[0]!r}; the cluster backend also knows max_workers and prestart."
        )
    session = secrets.token_hex(4)
    cluster = config.cluster()
    return Boot(
        session=session,
        directory=_private_directory(),
        token=secrets.token_hex(16),
        driver_pid=os.getpid(),
        nodes=cluster.nodes,
        head=cluster.head,
        scheduler=cloudpickle.dumps(config.scheduler),
        seed=config.seed,
        strict=config.strict,
        max_workers=_count(extra, "max_workers", 512),
        prestart=_count(extra, "prestart", None),
        trace=config.trace,
        preload=PRELOAD,
    )


def _count(extra: Mapping[str, Any], name: str, default: int | None) -> Any:
    value = extra.get(name, default)
    if value is not default and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"{name} is a number of processes, not {value!r}.")
    return value


def _private_directory() -> str:
    """A fresh directory, mode 0700, with a path short enough for a socket's address (107 bytes)."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not (runtime and len(runtime) < 60 and os.path.isdir(runtime) and os.access(runtime, os.W_OK)):
        runtime = tempfile.gettempdir()
    if len(runtime) > 60:
        runtime = "/tmp"
    _sweep(runtime)
    return tempfile.mkdtemp(prefix=f"labray-{os.getpid()}-", dir=runtime)


def _sweep(runtime: str) -> None:
    """Remove what sessions left that were killed together with their template."""
    for entry in os.scandir(runtime):
        parts = entry.name.split("-")
        if len(parts) == 3 and parts[0] == "labray" and parts[1].isdecimal():
            ours = (
                entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_uid == os.getuid()
            )
            if ours and not psutil.pid_exists(int(parts[1])):
                shutil.rmtree(entry.path, ignore_errors=True)


def _spawn(theirs: socket.socket) -> subprocess.Popen[bytes]:
    """A fresh interpreter in a session of its own, so that a Ctrl-C at the terminal reaches the driver alone."""
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(
            name, "1"
        )  # workers share the cores; and a template with threads cannot be forked
    with theirs:
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            env=environment,
        )
