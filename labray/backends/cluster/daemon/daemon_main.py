"""The life of one daemon: the state machines in it are its node, and in the first daemon the head as well."""

from __future__ import annotations

import contextlib
import gc
import pickle
import random
import traceback
from typing import TYPE_CHECKING

from labray.backends.cluster.daemon.daemon import Daemon
from labray.backends.cluster.wire import control_messages
from labray.backends.cluster.wire.control_messages import ControlMessage
from labray.ids import NodeID
from labray.node import Node
from labray.scheduling import ClusterInfo

if TYPE_CHECKING:
    import socket

    from labray.backends.cluster.boot.session_parameters import Boot


LAST_WORDS_S = 30.0
"""How long the fork server has to hear why a daemon has failed."""


def build_nodes(boot: Boot, place: str) -> dict[str, Node]:
    """By place. The scheduler is opened here: the one thing a daemon unpickles."""
    scheduler = pickle.loads(boot.scheduler)
    cluster = ClusterInfo(boot.nodes, NodeID(boot.head))
    totals = {node.place: node.totals for node in boot.nodes}
    mine = [place, boot.head] if place == boot.nodes[0].place else [place]
    return {
        name: Node(
            NodeID(name),
            cluster,
            totals.get(NodeID(name), ()),
            scheduler,
            random.Random(f"{boot.seed}/{name}"),
            strict=boot.strict,
            max_workers=boot.max_workers,
            prestart=0 if name == boot.head else boot.prestart,
            suspect_s=boot.monitoring.deadlock_warning_s,
            store_bytes=boot.store_bytes,
        )
        for name in mine
    }


def main(boot: Boot, place: str, end: socket.socket, driver_link: socket.socket | None) -> None:
    """The life of a daemon. end, driver_link: sockets to the fork server and (in the first daemon) to the driver."""
    gc.set_threshold(100_000, 50, 100)  # its values have no cycles; a full collection walks every queued task
    try:
        Daemon(boot, place, end, driver_link, build_nodes(boot, place)).run()
    except Exception:  # noqa: BLE001  (whatever it is, it is told, and ends the session)
        text = f"the daemon of {place} failed:\n{traceback.format_exc()}"
        with contextlib.suppress(OSError):  # it is gone, or hangs: whoever waits for us sees that we are gone
            end.settimeout(LAST_WORDS_S)
            end.send(control_messages.encoded(ControlMessage("fatal", place, text[-100_000:])))
            while end.recv(1):  # wait to be killed: the fork server reads what was said before it kills
                pass
