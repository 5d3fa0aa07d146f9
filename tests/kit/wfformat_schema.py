"""What WfFormat 1.5 asks of an instance, written down from its documentation (wfcommons.org/format) and schema.

A second opinion on what we write: it knows nothing of our reader. Members that are not named may be there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Faults = Iterator[str]
Check = Callable[[Any, str], Faults]


def text(pattern: str = r"(?s).+") -> Check:
    def check(value: Any, at: str) -> Faults:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            yield f"{at}: {value!r} is no such text"

    return check


def number(least: float = float("-inf"), whole: bool = False) -> Check:
    def check(value: Any, at: str) -> Faults:
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value < float("inf"):
            yield f"{at}: {value!r} is no such number"

    return check


def items(of: Check, least: int = 0) -> Check:
    def check(value: Any, at: str) -> Faults:
        if not isinstance(value, list) or len(value) < least:
            yield f"{at}: is no list of {least} or more"
            return
        for position, item in enumerate(value):
            yield from of(item, f"{at}[{position}]")

    return check


def members(needed: dict[str, Check], possible: dict[str, Check] | None = None) -> Check:
    def check(value: Any, at: str) -> Faults:
        if not isinstance(value, dict):
            yield f"{at}: is no object"
            return
        yield from (f"{at}.{key}: is missing" for key in needed if key not in value)
        for key, of in (needed | (possible or {})).items():
            if key in value:
                yield from of(value[key], f"{at}.{key}")

    return check


REFERENCE = text(r"[0-9a-zA-Z-_.]+")
"""1.6 allows more letters; what keeps to these is valid by both."""
DATE = text(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
TASK = members(
    {"name": text(), "id": REFERENCE, "parents": items(REFERENCE), "children": items(REFERENCE)},
    {"inputFiles": items(REFERENCE), "outputFiles": items(REFERENCE)},
)
FILE = members({"id": REFERENCE, "sizeInBytes": number(0, whole=True)})
RUN = members({"id": REFERENCE, "runtimeInSeconds": number()}, {"coreCount": number(1)})
INSTANCE = members(
    {
        "name": text(),
        "schemaVersion": text(r"1\.5"),
        "workflow": members(
            {"specification": members({"tasks": items(TASK, 1)}, {"files": items(FILE)})},
            {
                "execution": members(
                    {"makespanInSeconds": number(0), "executedAt": DATE, "tasks": items(RUN, 1)}
                )
            },
        ),
    },
    {"description": text(), "createdAt": DATE},
)


def faults(instance: Any) -> list[str]:
    """All that is wrong with it: what the schema says, and what it cannot say of names that name each other."""
    found = list(INSTANCE(instance, "instance"))
    if found:
        return found
    tasks = {task["id"]: task for task in instance["workflow"]["specification"]["tasks"]}
    files = {file["id"] for file in instance["workflow"]["specification"].get("files", [])}
    runs = [run["id"] for run in instance["workflow"].get("execution", {}).get("tasks", [])]
    if len(tasks) < len(instance["workflow"]["specification"]["tasks"]) or sorted(runs) != sorted(tasks):
        found.append("ids are not unique, or those that ran are not those that were specified")
    for id, task in tasks.items():
        for way, back in (("parents", "children"), ("children", "parents")):
            found += [f"{id}: {way} are not told so" for o in task[way] if id not in tasks[o][back]]
        used = {*task.get("inputFiles", []), *task.get("outputFiles", [])}
        found += [f"{id}: there is no file {file}" for file in used - files]
    return found
