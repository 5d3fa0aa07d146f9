"""How a child of the fork server becomes a daemon or a worker.

The few kernel calls that this takes and that Python does not have are here too.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NoReturn

from labray.backends.cluster.boot.session_parameters import Boot

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """Be killed when this process's parent dies (whose thread that forked must be its main one)."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died in between
        os._exit(1)


def lead_group() -> None:
    """In a new worker: what it starts can be ended with it, and the kernel takes it before a daemon or the driver."""
    os.setpgid(0, 0)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # advice: where it may not be given (a read-only /proc) the worker runs without


def preload(names: Iterable[str]) -> None:
    """Import what workers need. What is broken of others' is broken for who imports it; what is ours must be there."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            if name.startswith("labray."):
                raise
    gc.collect()
    gc.freeze()  # what is here stays: a collection in a child must not copy these pages


def be_daemon(
    parent: int,
    ends: Iterable[socket.socket],
    boot: Boot,
    place: str,
    end: socket.socket,
    driver_link: socket.socket | None,
) -> None:
    """The life of a child of the fork server. ends: the fork server's own sockets."""
    _become(parent, ends, [each.fileno() for each in (end, driver_link) if each is not None])
    from labray.backends.cluster.daemon.daemon_main import main

    main(boot, place, end, driver_link)


def be_worker(
    parent: int, ends: Iterable[socket.socket], boot: Boot, place: str, client: str,
    fds: Sequence[int], log_fd: int, limits: tuple[int, int],
) -> None:  # fmt: skip
    """The same. fds: of its pipe, and of its permits. limits: of descriptors, as the driver has them."""
    lead_group()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    _become(parent, ends, [*fds, log_fd])
    from labray.backends.cluster.worker.worker_process import serve

    serve(socket.socket(fileno=fds[0]), fds[1], place, client, boot.session, boot.directory, log_fd)


def _become(parent: int, ends: Iterable[socket.socket], keep: Collection[int]) -> None:
    """Let go of all that is the fork server's, but for what to keep."""
    die_with(parent)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for end in ends:
        if end.fileno() not in keep:
            end.detach()
    first = 3
    for fd in sorted(keep):
        os.closerange(first, fd)
        first = max(fd + 1, 3)
    os.closerange(first, 1 << 16)
    reseed()


def fill_standard() -> None:
    """Have descriptors 0 to 2. A socket of ours there would get what C code prints, and be replaced in a child."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def reseed() -> None:
    """In a new process: else all would draw the same numbers. (`random` sees to itself.)"""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def adopt_orphans() -> None:
    """Become the parent of whatever our descendants leave behind, so that it can be ended with the session."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def describe_end(status: int) -> str:
    """A wait status in words."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def end_with(run: Callable[[], object]) -> NoReturn:
    """Run the child's whole life; never return into the fork server's stack."""
    code = 1
    try:
        run()
        code = 0
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except BaseException:  # noqa: BLE001  (the child must not run on as a second fork server)
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):  # closed, a broken pipe, or none at all
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)
