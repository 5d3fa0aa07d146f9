"""A daemon's zmq sockets: one that hears everybody, one towards each other daemon. Batches leave at `flush`.

Every peer introduces itself by its socket's identity, which holds the session's token. What comes from anybody else,
or cannot be decoded, is dropped with one line in the log.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import zmq

from labray.backends.cluster.frames import LETTERS, NOTICES, Mail, encode
from labray.backends.cluster.wires import dealer, has_mail, identity

if TYPE_CHECKING:
    from labray.backends.cluster.boot import Boot

LOST = ""
READ_LIMIT = 256
"""Frames read before anything else gets its turn."""


class Post:
    def __init__(self, boot: Boot, place: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.sndhwm = self._router.rcvhwm = 0
        self._router.linger = 200
        self._router.bind(f"ipc://{boot.path(place)}")
        self._peers: dict[str, zmq.Socket[bytes]] = {}
        self._names = {identity(name, boot.token): name for name in (boot.driver, f"{boot.driver}+trace")}
        self._driver = identity(boot.driver, boot.token)
        self._notices: list[Any] = []
        self._letters: dict[tuple[str, str], list[Any]] = {}
        for node in boot.nodes:
            if node.place != place:
                peer = dealer(self._context, place, boot.token, boot.path(node.place))
                peer.linger = 200
                self._peers[node.place] = peer
                self._names[identity(node.place, boot.token)] = node.place
        if boot.nodes[0].place in self._peers:
            self._peers[boot.head] = self._peers[boot.nodes[0].place]

    @property
    def fd(self) -> int:
        fd: int = self._router.getsockopt(zmq.FD)  # type: ignore[assignment]
        return fd

    def waiting(self) -> bool:
        """Whether there is something to read."""
        return has_mail(self._router)

    def read(self) -> list[tuple[str, bytes, list[bytes]]]:
        """What is there, up to a limit: sender, frame, further frames."""
        got: list[tuple[str, bytes, list[bytes]]] = []
        while len(got) < READ_LIMIT and has_mail(self._router):
            parts = self._router.recv_multipart(zmq.NOBLOCK)
            sender = self._names.get(parts[0])
            if sender == LOST:
                continue
            if sender is None or len(parts) < 2 or not parts[1]:
                complain(f"dropped a frame from a stranger ({parts[0][:20]!r})")
                continue
            got.append((sender, parts[1], parts[2:]))
        return got

    # ------------------------------------------------------------ out

    def notify(self, notice: Any) -> None:
        """To the driver, at the next flush."""
        self._notices.append(notice)

    def write(self, sender: str, to: str, letter: Any) -> None:
        """To another place, at the next flush."""
        self._letters.setdefault((sender, to), []).append(letter)

    def flush(self) -> None:
        if self._notices:
            self._router.send_multipart([self._driver, NOTICES + encode(self._notices)])
            self._notices.clear()
        if self._letters:
            for (sender, to), letters in self._letters.items():
                peer = self._peers.get(to)
                if peer is not None:
                    peer.send(LETTERS + encode(Mail(sender, to, letters)))
            self._letters.clear()

    def send(self, to: str, frames: list[Any]) -> None:
        """Now, after all that was written before."""
        self.flush()
        peer = self._peers.get(to)
        if peer is not None:
            peer.send_multipart(frames, copy=True)

    def reply(self, frames: list[Any], trace: bool = False) -> None:
        """To the driver, now; to the socket it fetches traces with, or the one it talks on."""
        who = self._driver if not trace else next(i for i, n in self._names.items() if n.endswith("+trace"))
        self.flush()
        self._router.send_multipart([who, *frames])

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
    """One line in the log, which is the user's terminal."""
    print(f"labray: {text}", file=sys.stderr, flush=True)
