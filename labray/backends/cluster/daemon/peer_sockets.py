"""A daemon's zmq sockets: one that hears everybody, one towards each other daemon. Batches leave at `send_batches`.

Every peer introduces itself by its socket's identity, which holds the session's token. What comes from anybody else,
or cannot be decoded, is dropped with one line in the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

from labray.backends.cluster.wire.complaints import complain
from labray.backends.cluster.wire.frames import LETTERS, PeerMail, encode
from labray.backends.cluster.wire.zmq_sockets import dealer, has_mail, identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LOST = ""
READ_LIMIT = 256
"""How many frames are read before anything else gets its turn."""


class PeerSockets:
    """place: this daemon's. others: the places in other daemons. address(place): its daemon's path.

    state_client: the name of the driver's socket that asks for state. news(): reads what the fork server has said; it
    is called before anybody is taken for a stranger, who may have joined a moment ago.
    """

    def __init__(
        self,
        place: str,
        others: Iterable[str],
        address: Callable[[str], str],
        token: str,
        state_client: str,
        news: Callable[[], None],
    ) -> None:
        self._place = place
        self._address = address
        self._token = token
        self._news = news
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.sndhwm = self._router.rcvhwm = 0
        self._router.linger = 200
        self._router.setsockopt(
            zmq.ROUTER_HANDOVER, 1
        )  # the driver may ask again before its last socket is closed
        self._router.bind(f"ipc://{address(place)}")
        self._stirred = True  # since it was last empty; its descriptor tells of changes only
        self._peers: dict[str, zmq.Socket[bytes]] = {}
        self._state_client = identity(state_client, token)
        self._names = {self._state_client: state_client}
        self._letters: dict[tuple[str, str], list[Any]] = {}
        self._sockets: dict[str, zmq.Socket[bytes]] = {}  # by address: the head and the first node share one
        for other in others:
            self.meet(other)

    def meet(self, other: str) -> None:
        """Open a socket towards a place whose daemon is up, or will be in a moment."""
        path = self._address(other)
        if path not in self._sockets:
            peer = dealer(self._context, self._place, self._token, path)
            peer.linger = 200
            self._sockets[path] = peer
        self._peers[other] = self._sockets[path]
        self._names[identity(other, self._token)] = other

    @property
    def has_peers(self) -> bool:
        """Whether there is another daemon."""
        return bool(self._peers)

    def _towards(self, place: str) -> zmq.Socket[bytes] | None:
        """The socket towards a place; None if the place is lost."""
        if place not in self._peers:
            self._news()
        return self._peers.get(place)

    @property
    def fd(self) -> int:
        fd: int = self._router.getsockopt(zmq.FD)  # type: ignore[assignment]
        return fd

    def stir(self) -> None:
        """The descriptor has told of a change."""
        self._stirred = True

    def waiting(self) -> bool:
        """Whether there may be something to read."""
        return self._stirred

    def read(self) -> list[tuple[str, bytes, list[bytes]]]:
        """Read what is there, up to a limit: sender, frame, further frames."""
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

    def queue(self, sender: str, to: str, letter: Any) -> None:
        """Let a message to another place wait for the next `send_batches`."""
        self._letters.setdefault((sender, to), []).append(letter)

    def send_batches(self) -> None:
        while self._letters:  # more may be queued when a place has joined
            batch, self._letters = self._letters, {}
            for (sender, to), letters in batch.items():
                peer = self._towards(to)
                if peer is not None:
                    peer.send(LETTERS + encode(PeerMail(sender, to, letters)))

    def send_now(self, to: str, frames: list[Any]) -> None:
        """Send frames now, after all that was queued before."""
        self.send_batches()
        peer = self._peers.get(to)
        if peer is not None:
            peer.send_multipart(frames, copy=True)

    def reply(self, frames: list[Any]) -> None:
        """Answer the socket with which the driver asks for state, now."""
        self._router.send_multipart([self._state_client, *frames])
        self._stirred = True

    def disconnect(self, place: str) -> None:
        """A place is lost: say no more to it and hear no more from it."""
        peer = self._peers.pop(place, None)
        if peer is not None:
            del self._sockets[self._address(place)]
            peer.close(0)
        self._names = {key: LOST if name == place else name for key, name in self._names.items()}
