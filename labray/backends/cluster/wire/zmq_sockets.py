"""The zmq sockets between daemons, and those with which a driver asks daemons for their state."""

from __future__ import annotations

import zmq

POLLIN = int(zmq.POLLIN)  # of an enum, `&` takes 1 us


def identity(name: str, token: str) -> bytes:
    """What a zmq socket calls itself: only who can read the session's directory knows the token."""
    return f"{name}:{token}".encode()


def dealer(context: zmq.Context[zmq.Socket[bytes]], name: str, token: str, path: str) -> zmq.Socket[bytes]:
    """A socket towards a daemon, which may not be up yet."""
    end = context.socket(zmq.DEALER)
    end.identity = identity(name, token)
    end.sndhwm = end.rcvhwm = 0  # a full queue would block or drop; what is queued is bounded by the program
    end.linger = 0
    end.reconnect_ivl = 1  # ms; the default of 100 would be felt in every init()
    end.connect(f"ipc://{path}")
    return end


def has_mail(end: zmq.Socket[bytes]) -> bool:
    """Whether there is something to read. Ask before every sleep: the descriptor tells of changes only."""
    events: int = end.getsockopt(zmq.EVENTS)  # type: ignore[assignment]
    return bool(events & POLLIN)
