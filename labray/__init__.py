"""labray, a laboratory Ray: one program, real or simulated, under any scheduler."""

from typing import TYPE_CHECKING, Any

from labray.native import compiled  # first: it says which code the others are

# isort: split

from labray import errors, trace
from labray import errors as exceptions
from labray.api import (
    cancel,
    cluster_resources,
    execute,
    get,
    get_actor,
    graph,
    kill,
    nodes,
    now,
    put,
    remote,
    sleep,
    spend,
    wait,
)
from labray.client.actors import ActorClass, ActorHandle, method
from labray.client.functions import RemoteFunction
from labray.client.options import NodeAffinitySchedulingStrategy
from labray.client.refs import ObjectRef
from labray.faults import Faults
from labray.session import init, is_initialized, shutdown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from labray.graphs import TaskGraph

__version__ = "0.1.0"

__all__ = [
    "ActorClass",
    "ActorHandle",
    "Faults",
    "NodeAffinitySchedulingStrategy",
    "ObjectRef",
    "RemoteFunction",
    "TaskGraph",
    "cancel",
    "cluster_resources",
    "compiled",
    "errors",
    "exceptions",
    "execute",
    "get",
    "get_actor",
    "graph",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "now",
    "put",
    "remote",
    "shutdown",
    "sleep",
    "spend",
    "wait",
]


def _recorded(path: "str | PathLike[str]") -> "Sequence[trace.Event]":
    """The events of a .lab file; what reads files is loaded when the first one is read."""
    from labray.files.traces import load

    return load(path)[0]


trace.read_files_with(_recorded)


def __getattr__(name: str) -> Any:
    """Loaded when first asked for: networkx alone takes as long as the rest."""
    if name == "TaskGraph":
        from labray.graphs import TaskGraph

        return TaskGraph
    raise AttributeError(f"module 'labray' has no attribute {name!r}")
