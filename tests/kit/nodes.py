"""Tasks that say on which node they run, and tasks that are sent to one."""

from __future__ import annotations

import os
from typing import Any

import psutil

import labray


@labray.remote
def where() -> str:
    return str(labray.client.runtime.current().channel.place)  # type: ignore[attr-defined]


@labray.remote
def daemon() -> int:
    """The process id of the daemon of the node that runs this: the other end of the worker's pipe."""
    name = str(labray.client.runtime.current().channel.place)  # type: ignore[attr-defined]
    directory = labray.client.runtime.current().channel._reader._directory  # type: ignore[attr-defined]
    path = os.path.join(directory, name)
    own = {os.getpid(), os.getppid()}
    for process in psutil.Process(os.getppid()).children():
        if process.pid not in own and any(path == c.laddr for c in process.net_connections("unix")):
            return process.pid
    raise LookupError(f"no daemon listens at {path}")


def at(node: Any, function: Any) -> Any:
    return function.options(resources={f"node:{node.name}": 0.01})
