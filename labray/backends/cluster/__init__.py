"""The real world: a daemon process for each logical node, forked workers, shared memory, Unix sockets.

Of all: session (start and end, from the driver), boot, template (what all are forked from), undertaker (how they are
ended), directories, descriptors, watches, stopped (who counts as dead), frames and errands (what is said).

Of a client: channel (what it posts and asks), outbox, inbox, waiter, wires, end (its end of a pipe), shelf and own
(what it writes into the store), store, allocator, memory, reader, viewed (what it reads there), enquiries. A worker has
also worker, intake (what it may begin), interrupts, worker_output and end_of_worker; the driver speech, which shows
what workers print.

Of a daemon: household, daemon (the loop around a Node), loop, alarms, rounds, memory_watch; crew and member (its
workers), wishes; line, pipe (its end of one), post; stock, disk, room (its store), sharing, answers, spool (the trace).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.backends.cluster.watches import OPTIONS as WATCHES
from labray.backends.contract import Backend

if TYPE_CHECKING:
    from labray.backends.contract import Session
    from labray.config import Config


def start(config: Config) -> Session:
    """Start the processes of a session on this machine; ready for tasks when it returns."""
    from labray.backends.cluster.session import ClusterSession

    return ClusterSession(config)


BACKEND = Backend(
    start,
    options=("max_workers", "prestart", "object_store_memory", "object_spilling_directory", *WATCHES),
    elastic=True,
)
