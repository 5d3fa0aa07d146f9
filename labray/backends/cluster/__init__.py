"""The real world: a daemon process for each logical node, forked workers, shared memory, Unix sockets.

session.py   start and end, from the driver        template.py  the process all others are forked from
channel.py, waiter.py  what a client posts and asks          daemon.py    the loop around a Node
wires.py, line.py, pipe.py, frames.py, errands.py, post.py  what travels, and how
store.py, reader.py, allocator.py, shelf.py, stock.py, disk.py, room.py  shared memory, and what had to leave it
descriptors.py                                     how many files there may be
worker.py, crew.py                                 a worker, and a daemon's view of it
interrupts.py, wishes.py                           how a cancelled task is interrupted
enquiries.py, answers.py                           what a driver asks beside its program
watches.py, directories.py                         what is watched, and for how long; what is removed at the end
speech.py, worker_output.py                        what tasks print
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.backends.cluster.watches import OPTIONS as WATCHES

if TYPE_CHECKING:
    from labray.config import Config
    from labray.port import Session


OPTIONS = ("max_workers", "prestart", "object_store_memory", "object_spilling_directory", *WATCHES)


def start(config: Config) -> Session:
    """Start the processes of a session on this machine; ready for tasks when it returns."""
    from labray.backends.cluster.session import ClusterSession

    return ClusterSession(config)
