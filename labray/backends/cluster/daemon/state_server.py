"""What a daemon answers when the driver asks: the trace so far, which nodes there are, and what they hold."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from labray.backends.cluster.store.trace_spool import TraceSpool
from labray.backends.cluster.wire.frames import HELD, ROSTER, TRACE, HeldReply, RosterEntry, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labray.backends.cluster.daemon.peer_sockets import PeerSockets
    from labray.messages.audit_reports import Held
    from labray.node.context.node_context import NodeContext
    from labray.trace import Event


class StateServer:
    """membership: who has joined and who was lost, as the daemon's node knows it. peers: over which it answers.

    take_logs: take the new events of each node in this daemon. holdings(): what each of them holds. traced: whether
    events are kept. warn(text): tells the user.
    """

    def __init__(
        self,
        membership: NodeContext,
        take_logs: Sequence[Callable[[], list[Event]]],
        holdings: Callable[[], tuple[Held, ...]],
        peers: PeerSockets,
        traced: bool,
        warn: Callable[[str], None],
    ) -> None:
        self._membership = membership
        self._take_logs = take_logs
        self._holdings = holdings
        self._peers = peers
        self._traced = traced
        self._warn = warn
        self._place = membership.place
        self._spool = TraceSpool(self._place)

    def keep(self, events: list[Event]) -> None:
        """Write events that were taken out of memory to the file, if events are kept."""
        if events and self._traced and (why := self._spool.append(events)):
            self._warn(
                f"{self._place} traces no more: {why}. The program goes on; its trace tells what is missing."
            )

    def trace(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        """Send all events so far, chunk by chunk, and an empty frame."""
        for take_log in self._take_logs:
            self.keep(take_log())
        for chunk in self._spool.chunks():
            self._peers.reply([TRACE, chunk])
        self._peers.reply([TRACE, b""])

    def roster(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        """Send which nodes there are and were."""
        dead, nodes = self._membership.dead, self._membership.cluster.nodes
        entries = [RosterEntry(info.place, info.totals, info.place not in dead) for info in nodes]
        self._peers.reply([ROSTER, encode(entries)])

    def held(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        """Send what the nodes of this daemon hold."""
        account = HeldReply(os.getpid(), self._holdings())
        self._peers.reply([HELD, encode(account)])
