"""A daemon's zmq sockets: one that hears everybody, one towards each other daemon. Batches leave at `flush`.

Every peer introduces itself by its socket's identity, which holds the session's token. What comes from anybody else,
or cannot be decoded, is dropped with one line in the log.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import zmq

from labray.backends.cluster.wire.frames import LETTERS, PeerMail, encode
from labray.backends.cluster.wire.zmq_sockets import dealer, has_mail, identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from labray.backends.cluster.boot.process_start import Boot

LOST = ""
READ_LIMIT = 256
"""Frames read before anything else gets its turn."""


class PeerSockets:
    """news() is called before anybody is taken for a stranger: it may have joined, and we not have heard."""

    def __init__(self, boot: Boot, place: str, news: Callable[[], None]) -> None:
        self._boot = boot
        self._place = place
        self._news = news
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.sndhwm = self._router.rcvhwm = 0
        self._router.linger = 200
        self._router.setsockopt(
            zmq.ROUTER_HANDOVER, 1
        )  # the driver's next question, before its last is closed
        self._router.bind(f"ipc://{boot.path(place)}")
        self._stirred = True  # since it was last empty; its descriptor tells of changes only
        self._peers: dict[str, zmq.Socket[bytes]] = {}
        self._names = {identity(name, boot.token): name for name in [f"{boot.driver}+trace"]}
        self._letters: dict[tuple[str, str], list[Any]] = {}
        for node in boot.nodes:
            if node.place != place:
                self.meet(node.place)
        if boot.nodes[0].place in self._peers:
            self._peers[boot.head] = self._peers[boot.nodes[0].place]

    def meet(self, other: str) -> None:
        """A daemon that there is, or that will be in a moment."""
        boot = self._boot
        peer = dealer(self._context, self._place, boot.token, boot.path(other))
        peer.linger = 200
        self._peers[other] = peer
        self._names[identity(other, boot.token)] = other

    @property
    def has_peers(self) -> bool:
        """Whether there is another daemon."""
        return bool(self._peers)

    def _towards(self, place: str) -> zmq.Socket[bytes] | None:
        """None if it is lost."""
        if place not in self._peers:
            self._news()
        return self._peers.get(place)

    @property
    def fd(self) -> int:
        fd: int = self._router.getsockopt(zmq.FD)  # type: ignore[assignment]
        return fd

    def stir(self) -> None:
        """Its descriptor has told of a change."""
        self._stirred = True

    def waiting(self) -> bool:
        """Whether there may be something to read."""
        return self._stirred

    def read(self) -> list[tuple[str, bytes, list[bytes]]]:
        """What is there, up to a limit: sender, frame, further frames."""
        got: list[tuple[str, bytes, list[bytes]]] = []
        while len(got) < READ_LIMIT:
            if not has_mail(self._router):
                self._stirred = False
                break
            parts = self._router.recv_multipart(zmq.NOBLOCK)
            if parts[0] not in self._names:
                self._news()
            sender = self._names.get(parts[0])
            if sender == LOST:
                continue
            if sender is None or len(parts) < 2 or not parts[1]:
                complain(f"dropped a frame from a stranger ({parts[0][:20]!r})")
                continue
            got.append((sender, parts[1], parts[2:]))
        return got

    # ------------------------------------------------------------ out

    def write(self, sender: str, to: str, letter: Any) -> None:
        """To another place, at the next flush."""
        self._letters.setdefault((sender, to), []).append(letter)

    def flush(self) -> None:
        while self._letters:  # more are written while we hear of a place that has joined
            batch, self._letters = self._letters, {}
            for (sender, to), letters in batch.items():
                peer = self._towards(to)
                if peer is not None:
                    peer.send(LETTERS + encode(PeerMail(sender, to, letters)))

    def send(self, to: str, frames: list[Any]) -> None:
        """Now, after all that was written before."""
        self.flush()
        peer = self._peers.get(to)
        if peer is not None:
            peer.send_multipart(frames, copy=True)

    def reply(self, frames: list[Any]) -> None:
        """To the socket that the driver fetches traces with, now."""
        who = next(key for key, name in self._names.items() if name.endswith("+trace"))
        self._router.send_multipart([who, *frames])
        self._stirred = True

    def forget(self, place: str) -> None:
        """A place is lost: say no more to it and hear no more from it."""
        peer = self._peers.pop(place, None)
        if peer is not None:
            peer.close(0)
        self._names = {key: LOST if name == place else name for key, name in self._names.items()}

    def close(self) -> None:
        for peer in set(self._peers.values()):
            peer.close()
        self._router.close()
        self._context.term()


def complain(text: str) -> None:
    """One line in the log, which is the user's terminal, or nobody's any more."""
    try:
        print(f"labray: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # a pipe that is closed, a disk that is full: the work goes on
        return
