"""What a daemon answers when the driver enquires: the trace so far, and who is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from labray.backends.cluster.store.trace_spool import TraceSpool
from labray.backends.cluster.wire.frames import HELD, ROSTER, TRACE, HeldReply, RosterEntry, encode
from labray.node.inspect.reference_audit import held

if TYPE_CHECKING:
    from collections.abc import Callable

    from labray.backends.cluster.daemon.peer_sockets import PeerSockets
    from labray.node import Node


class StateServer:
    """nodes: the daemon's, by place, its own first. traced: whether events are kept. warn(text): tell the user."""

    def __init__(
        self, nodes: dict[str, Node], post: PeerSockets, traced: bool, warn: Callable[[str], None]
    ) -> None:
        self._nodes = list(nodes.values())
        self._post = post
        self._traced = traced
        self._warn = warn
        self._place = self._nodes[0].place
        self._spool = TraceSpool(self._place)

    def write_out(self, node: Node) -> None:
        """Take a node's events out of memory."""
        events = node.take_log()
        if events and self._traced and (why := self._spool.add(events)):
            self._warn(
                f"{self._place} traces no more: {why}. The program goes on; its trace tells what is missing."
            )

    def trace(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        for node in self._nodes:
            self.write_out(node)
        for chunk in self._spool.chunks():
            self._post.reply([TRACE, chunk])
        self._post.reply([TRACE, b""])

    def roster(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        node = self._nodes[0]
        dead = node.context.dead
        entries = [
            RosterEntry(info.place, info.totals, info.place not in dead)
            for info in node.context.cluster.nodes
        ]
        self._post.reply([ROSTER, encode(entries)])

    def held(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        account = HeldReply(os.getpid(), tuple(held(node) for node in self._nodes))
        self._post.reply([HELD, encode(account)])
