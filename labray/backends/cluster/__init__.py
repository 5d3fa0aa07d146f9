"""The real world: a daemon process for each logical node, forked workers, shared memory, Unix sockets.

Its rooms: boot (how the processes of a session begin and end), daemon (the loop around a node), worker, client (what
drivers and workers share), store (shared memory, and files of what is spilled), wire (what is said, and over what).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.backends.cluster.boot.monitor_options import OPTIONS as WATCHES
from labray.backends.contract import Backend

if TYPE_CHECKING:
    from labray.backends.contract import Session
    from labray.config import Config


def start(config: Config) -> Session:
    """Start the processes of a session on this machine; ready for tasks when it returns."""
    from labray.backends.cluster.cluster_session import ClusterSession

    return ClusterSession(config)


BACKEND = Backend(
    start,
    options=("max_workers", "prestart", "object_store_memory", "object_spilling_directory", *WATCHES),
    elastic=True,
)
