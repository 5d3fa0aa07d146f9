"""The public functions. They check what they are given and hand it to the current runtime; they know nothing else."""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

from labray import session
from labray.client import runtime
from labray.client.actors import ActorClass, ActorHandle, actor_ref
from labray.client.functions import RemoteFunction
from labray.client.options import check, seconds
from labray.client.refs import ObjectRef

if TYPE_CHECKING:
    from labray.graphs.taskgraph import TaskGraph


def remote(*things: Any, **given: Any) -> Any:
    """Make a function's calls tasks, or a class's instances actors. With options: `@remote(num_cpus=2)`."""
    if len(things) == 1 and not given:
        return _made(things[0], {})
    if things or not given:
        raise TypeError("Use @remote without parentheses, or with options by keyword: @remote(num_cpus=2).")
    _check_either(given)
    return lambda thing: _made(thing, given)


def _made(thing: Any, given: dict[str, Any]) -> Any:
    if isinstance(thing, type):
        return ActorClass.of(thing, given)
    if isinstance(thing, FunctionType | BuiltinFunctionType):
        return RemoteFunction.of(thing, given)
    raise TypeError(f"@remote is for functions and classes, not {thing!r}.")


def _check_either(given: dict[str, Any]) -> None:
    """Options that are wrong for tasks and actors alike are refused at once, before the function or class is known."""
    try:
        check("task", given)
    except ValueError:
        check("actor", given)


def get(refs: Any, *, timeout: float | None = None) -> Any:
    """Wait for a ref's value, or a list's; raise what it failed with. timeout in seconds; 0 polls."""
    if isinstance(refs, ObjectRef):
        return session.of(refs).get([refs], _timeout(timeout))[0]
    if not isinstance(refs, list):
        raise ValueError(f"get() takes an ObjectRef or a list of them, not {_shown(refs)}.")
    for ref in refs:
        if not isinstance(ref, ObjectRef):
            raise ValueError(f"get() takes a list of ObjectRefs; this one holds {_shown(ref)}.")
    limit = _timeout(timeout)
    return session.of(refs[0]).get(refs, limit) if refs else []


def put(value: Any) -> ObjectRef[Any]:
    """Store a copy of a value, to be passed to many tasks by its ref."""
    return session.ensure(value).put(value)


def wait(
    refs: list[Any], *, num_returns: int = 1, timeout: float | None = None, fetch_local: bool = True
) -> tuple[list[Any], list[Any]]:
    """Wait until `num_returns` of these exist (failed ones do) or the time is up: those, and the others."""
    if not isinstance(refs, list):
        raise TypeError(f"wait() takes a list of ObjectRefs, not {_shown(refs)}.")
    limit = _timeout(timeout)
    if not refs:
        return [], []
    # The usual case is one quick check: programs wait for long lists, and often.
    if len({ref.id for ref in refs if type(ref) is ObjectRef}) != len(refs):
        for ref in refs:
            if not isinstance(ref, ObjectRef):
                raise TypeError(f"wait() takes a list of ObjectRefs; this one holds {_shown(ref)}.")
        raise ValueError("wait() takes each ref once; this list holds one twice.")
    if isinstance(num_returns, bool) or not isinstance(num_returns, int):
        raise TypeError(f"num_returns is a whole number, not {num_returns!r}.")
    if not 1 <= num_returns <= len(refs):
        raise ValueError(f"num_returns is between 1 and the number of refs ({len(refs)}), not {num_returns}.")
    return session.of(refs[0]).wait(refs, num_returns, limit)


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """End an actor's process at once. Its running and queued calls fail with ActorDiedError."""
    if not isinstance(actor, ActorHandle):
        raise ValueError(f"kill() takes an actor's handle, not {_shown(actor)}.")
    at = session.of(actor)
    at.kill(actor_ref(actor, at), no_restart)


def cancel(ref: Any, *, force: bool = False, recursive: bool = True) -> None:
    """Take back the task that makes this object: it never runs, or is interrupted; its refs raise TaskCancelledError.

    A running task gets a KeyboardInterrupt; if it catches that and returns, its value counts. force: its worker is
    killed. recursive: the tasks that it has submitted are cancelled too. A queued actor call is dropped; a running
    one goes on and only its value is dropped. A task that has ended stays as it is.
    """
    if not isinstance(ref, ObjectRef):
        raise TypeError(f"cancel() takes an ObjectRef, not {_shown(ref)}.")
    session.of(ref).cancel(ref, bool(force), bool(recursive))


def get_actor(name: str) -> ActorHandle:
    """A handle of the living actor of this name; ValueError if there is none."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"get_actor() takes a name, not {name!r}.")
    found = runtime.current().lookup(name) if runtime.exists() else None
    if found is None:
        raise ValueError(f"There is no living actor named {name!r}.")
    return ActorHandle(*found)


def now() -> float:
    """Seconds since the session began, in the world's time."""
    return session.ensure().now()


def sleep(seconds: float) -> None:
    """Do nothing for so many seconds of the world's time."""
    session.ensure().sleep(_duration(seconds))


def spend(seconds: float) -> None:
    """Use so many seconds of CPU: really, or in virtual time."""
    session.ensure().spend(_duration(seconds))


def cluster_resources() -> dict[str, float]:
    """The resources that all nodes offer together."""
    return dict(session.running().resources)


def nodes() -> list[dict[str, Any]]:
    """The nodes, one dict each: NodeID, Alive, Resources."""
    return [dict(node) for node in session.running().nodes]


def graph() -> TaskGraph:
    """The task graph of the program so far, a networkx DAG."""
    from labray.graphs.taskgraph import TaskGraph

    return TaskGraph.from_trace(session.running().trace())


def execute(graph: TaskGraph) -> Any:
    """Run a given task graph; see labray.replaying.graph_execution.execute for what it returns."""
    from labray.replaying.graph_execution import execute as run

    return run(session.ensure(), graph)


# ---------------------------------------------------------------- checks


def _timeout(timeout: Any) -> float | None:
    return None if timeout is None else seconds("timeout", timeout)


def _duration(value: Any) -> float:
    return seconds("seconds", value)


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) < 100 else text[:97] + '...'} (a {type(value).__name__})"
