"""The names of tasks, objects, nodes and clients. Every id is derived from where it comes from, never drawn at random.

The same program therefore gets the same ids in every world, which makes traces comparable and runs
replayable. All ids are plain strings: cheap as dictionary keys, readable in a trace.

    driver's third task          d-2
    its first result             d-2.0
    the driver's first put       d-p0        and its first exported function  d-f0
    the first task *of* d-2      5f0c...-0   (a digest of d-2 and the attempt that submitted it)
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NewType

TaskID = NewType("TaskID", str)
ObjectID = NewType("ObjectID", str)
NodeID = NewType("NodeID", str)
"""A node or the head, with its incarnation: `n3`, and `n3~1` once it has come back."""
ClientID = NewType("ClientID", str)
"""A driver or worker process attached to a place: `n0/driver`, `n0/w2`. Only clients have a slash."""

HEAD = NodeID("head")
DRIVER = TaskID("d")
"""The task that everything descends from: the user's main program."""


def node_id(name: str, incarnation: int = 0) -> NodeID:
    """The place a name stands for in its n-th life."""
    return NodeID(f"{name}~{incarnation}" if incarnation else name)


def lineage_prefix(task: TaskID, attempt: int) -> str:
    """The prefix of the ids of everything that one attempt of a task submits.

    A digest keeps ids short at any depth; the attempt is part of it because a re-run may branch differently.
    """
    if task == DRIVER:
        return DRIVER
    return blake2b(f"{task}/{attempt}".encode(), digest_size=8).hexdigest()


def task_id(prefix: str, counter: int) -> TaskID:
    return TaskID(f"{prefix}-{counter}")


def order_of(task: TaskID) -> int:
    """The position of this task, from 0, among all that its parent's attempt submitted."""
    return int(task.rpartition("-")[2])


def result_id(task: TaskID, index: int) -> ObjectID:
    return ObjectID(f"{task}.{index}")


def put_id(prefix: str, counter: int) -> ObjectID:
    return ObjectID(f"{prefix}-p{counter}")


def is_put(object: ObjectID) -> bool:
    """Whether this object was put or exported, and so never changes; what a task made may be made again."""
    return "." not in object


def function_id(prefix: str, counter: int) -> ObjectID:
    return ObjectID(f"{prefix}-f{counter}")


def is_code(id: ObjectID) -> bool:
    """Whether this object is an exported function or class."""
    return id.rpartition("-")[2].startswith("f")


def creator(result: ObjectID) -> TaskID:
    """The task whose result this is."""
    return TaskID(result.rpartition(".")[0])
