"""WfFormat 1.5 (wfcommons.org): recorded runs of scientific workflows. Files are objects, tasks are tasks.

A file that several tasks write is an object each; a reader takes those of its parents. A parent of which a task
reads no file is an object of no bytes. Control edges (who submitted whom) have no word in WfFormat.
"""

from __future__ import annotations

import json
from typing import Any

from labray.graphs.formats.reading import Cursor, FormatError, acyclic, add, link
from labray.graphs.taskgraph import TaskGraph
from labray.messages import UNIT

VERSIONS = ("1.4", "1.5")


def parse(text: str | bytes) -> TaskGraph:
    """The graph of a run; costs are its runtimes. FormatError names the key at fault."""
    document = Cursor.of(text)
    version = document["schemaVersion"].text()
    if version not in VERSIONS:
        raise FormatError(f"schemaVersion: should be {' or '.join(VERSIONS)}, not {version!r}.")
    return _Workflow(document["workflow"]).graph


class _Workflow:
    """Two passes: the tasks with the files they write, then what they read."""

    def __init__(self, workflow: Cursor) -> None:
        specification = workflow["specification"]
        self.graph = TaskGraph()
        self._sizes = {one["id"].text(): one["sizeInBytes"].whole() for one in specification.list("files")}
        self._ran = self._runs(workflow)
        self._writers: dict[str, dict[str, str]] = {}  # of a file: task to object
        self._tokens: dict[str, str] = {}
        tasks = specification["tasks"].list()
        for task in tasks:
            self._add(task)
        parents = self._parents(tasks)
        for task in tasks:
            self._connect(task, parents[task["id"].text()])
        acyclic(self.graph)

    def _runs(self, workflow: Cursor) -> dict[str, Cursor]:
        if not workflow.has("execution"):
            return {}
        return {run["id"].text(): run for run in workflow["execution"]["tasks"].list()}

    def _add(self, task: Cursor) -> None:
        id = task["id"].text()
        if id in self.graph.nx:
            raise task["id"].fail("should be a new id")
        files = [self._file(file) for file in task.list("outputFiles")]
        run = self._ran.get(id)
        cost = run["runtimeInSeconds"].number() if run is not None else 0.0
        units = round(run["coreCount"].number(UNIT)) if run is not None and run.has("coreCount") else UNIT
        sizes = [self._sizes[file] for file in files]
        demand = (("CPU", units),) if units else ()
        add(self.graph, task, id, cost=cost, outputs=sizes, name=task["name"].text(), demand=demand)
        for index, file in enumerate(files):
            self._writers.setdefault(file, {})[id] = f"{id}.{index}"
            self.graph.nx.nodes[f"{id}.{index}"]["name"] = file

    def _file(self, file: Cursor) -> str:
        if file.text() not in self._sizes:
            raise file.fail("should be the id of one of workflow.specification.files")
        return file.text()

    def _parents(self, tasks: list[Cursor]) -> dict[str, dict[str, None]]:
        """Of each task, as it says or as its parents say of it."""
        parents: dict[str, dict[str, None]] = {task["id"].text(): {} for task in tasks}
        for task in tasks:
            id = task["id"].text()
            for parent in task.list("parents"):
                if parent.text() not in parents:
                    raise parent.fail("should be the id of a task")
                parents[id][parent.text()] = None
            for child in task.list("children"):
                if child.text() not in parents:
                    raise child.fail("should be the id of a task")
                parents[child.text()][id] = None
        return parents

    def _connect(self, task: Cursor, parents: dict[str, None]) -> None:
        id = task["id"].text()
        met: dict[str, None] = {}
        for file in dict.fromkeys(self._file(file) for file in task.list("inputFiles")):
            writers = self._writers.get(file, {})
            chosen = [writer for writer in writers if writer in parents]
            if not chosen and len(writers) == 1 and id not in writers:
                chosen = list(writers)
            for writer in chosen:
                link(self.graph, writers[writer], id)
                met[writer] = None
            if not writers:
                link(self.graph, self._outside(file), id)
        for parent in parents:
            if parent not in met:
                link(self.graph, self._token(parent), id)

    def _outside(self, file: str) -> str:
        """A file that was there before; named as it is, unless a node is named so already."""
        taken = file in self.graph.nx and self.graph.nx.nodes[file].get("name") != file
        id = f"file:{file}" if taken else file
        if id not in self.graph.nx:
            self.graph.object(id, self._sizes[file])
            self.graph.nx.nodes[id]["name"] = file
        return id

    def _token(self, parent: str) -> str:
        """An object of no bytes that says that a parent has ended."""
        if parent not in self._tokens:
            token = f"{parent}.{len(self.graph.outputs(parent))}"
            self.graph.object(token, 0)
            self.graph.nx.add_edge(parent, token, kind="data")
            self._tokens[parent] = token
        return self._tokens[parent]


def dump(
    graph: TaskGraph, *, name: str = "labray", makespan_s: float | None = None,
    executed_at: str = "1970-01-01T00:00:00Z",
) -> str:  # fmt: skip
    """As a WfFormat 1.5 instance. makespan_s: as measured; default: the critical path. executed_at: ISO 8601."""
    parents = {task: _before(graph, task) for task in graph.tasks()}
    children: dict[str, list[str]] = {task: [] for task in parents}
    for task, before in parents.items():
        for parent in before:
            children[parent].append(task)
    specified: list[dict[str, Any]] = []
    ran: list[dict[str, Any]] = []
    for task in parents:
        node = graph.nx.nodes[task]
        specified.append(
            {
                "name": node["name"],
                "id": task,
                "parents": parents[task],
                "children": children[task],
                "inputFiles": graph.inputs(task),
                "outputFiles": graph.outputs(task),
            }
        )
        cores = dict(node["demand"]).get("CPU", 0) / UNIT
        ran.append({"id": task, "runtimeInSeconds": node["cost"], "coreCount": cores})
    files = [{"id": one, "sizeInBytes": graph.nx.nodes[one]["size"]} for one in graph.objects()]
    makespan = graph.critical_path()[0] if makespan_s is None else makespan_s
    execution = {"makespanInSeconds": makespan, "executedAt": executed_at, "tasks": ran}
    workflow = {"specification": {"tasks": specified, "files": files}, "execution": execution}
    return json.dumps({"name": name, "schemaVersion": "1.5", "workflow": workflow}, indent=1)


def _before(graph: TaskGraph, task: str) -> list[str]:
    """What must have ended: the makers of its inputs, and the call before it."""
    makers = [maker for object in graph.inputs(task) for maker, _ in graph.nx.in_edges(object)]
    calls = [a for a, _, kind in graph.nx.in_edges(task, data="kind") if kind == "stateful"]
    return list(dict.fromkeys((*makers, *calls)))
