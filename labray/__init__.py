"""labray, a laboratory Ray: one program, real or simulated, under any scheduler."""

from labray import errors
from labray import errors as exceptions
from labray.actors import ActorClass, ActorHandle, method
from labray.api import (
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
from labray.functions import RemoteFunction
from labray.options import NodeAffinitySchedulingStrategy
from labray.refs import ObjectRef
from labray.session import init, is_initialized, shutdown

__version__ = "0.1.0"

__all__ = [
    "ActorClass",
    "ActorHandle",
    "NodeAffinitySchedulingStrategy",
    "ObjectRef",
    "RemoteFunction",
    "cluster_resources",
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
