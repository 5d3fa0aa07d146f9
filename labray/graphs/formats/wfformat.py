"""WfFormat 1.4 to 1.6 (wfcommons.org): recorded runs of scientific workflows. Files are objects, tasks are tasks.

Up to 1.4 a task carries its files and its run, and others call it by its name; since 1.5 all three have lists of their
own, and ids. Names of files and of tasks have nothing to do with each other: a file may be called as a task is.
A file that several tasks write is an object each; a reader takes those of its parents. A parent of which a task
reads no file is an object of no bytes. Control edges (who submitted whom) have no word in WfFormat.
"""

from __future__ import annotations

import json
import re
from typing import Any

from msgspec import Struct

from labray.graphs.formats.reading import Cursor, FormatError, acyclic, add, link
from labray.graphs.taskgraph import GraphError, TaskGraph
from labray.messages import ONE_CPU, UNIT, Demand

VERSIONS = ("1.4", "1.5", "1.6")
DEMAND = "labray.demand"
"""Our own word for what `coreCount` cannot say: less than one core, and other resources. Others pass it over."""


class Job(Struct, frozen=True):
    """A task as it stands in the document. key: where its id is written. parents, children: where, and which."""

    at: Cursor
    key: Cursor
    name: str
    parents: list[tuple[Cursor, str]]
    children: list[tuple[Cursor, str]]
    reads: list[str]
    writes: list[str]
    seconds: float
    demand: Demand

    @property
    def id(self) -> str:
        return self.key.text()


def parse(text: str | bytes) -> TaskGraph:
    """The graph of a run; costs are its runtimes. FormatError names the key at fault."""
    document = Cursor.of(text)
    version = document["schemaVersion"].text()
    if version not in VERSIONS:
        raise FormatError(f"schemaVersion: should be one of {', '.join(VERSIONS)}, not {version!r}.")
    workflow = document["workflow"]
    jobs, sizes = (_jobs_of_14 if version == "1.4" else _jobs_of_15)(workflow)
    graph = _Workflow(jobs, sizes).graph
    run = workflow if version == "1.4" else workflow["execution"] if workflow.has("execution") else None
    if run is not None and run.has("makespanInSeconds"):
        graph.nx.graph["makespan_s"] = run["makespanInSeconds"].number()
    if run is not None and run.has("executedAt"):
        graph.nx.graph["executed_at"] = run["executedAt"].text()
    return graph


def _demand(run: Cursor, cores: str) -> Demand:
    """Of a task's run; one core where it does not say."""
    if run.has(DEMAND):
        amounts = [(name, round(amount.number(UNIT))) for name, amount in run[DEMAND].items()]
        return tuple(sorted((name, units) for name, units in amounts if units))
    units = round(run[cores].number(UNIT)) if run.has(cores) else UNIT
    return (("CPU", units),) if units else ()


def _names(task: Cursor, key: str) -> list[tuple[Cursor, str]]:
    return [(one, one.text()) for one in task.list(key)]


def _jobs_of_15(workflow: Cursor) -> tuple[list[Job], dict[str, int]]:
    """The tasks, and the sizes of all files."""
    specification = workflow["specification"]
    sizes = {one["id"].text(): one["sizeInBytes"].whole() for one in specification.list("files")}
    ran = workflow["execution"]["tasks"].list() if workflow.has("execution") else []
    runs = {run["id"].text(): run for run in ran}
    jobs = []
    for task in specification["tasks"].list():
        for at, file in (*_names(task, "inputFiles"), *_names(task, "outputFiles")):
            if file not in sizes:
                raise at.fail("should be the id of one of workflow.specification.files")
        run = runs.get(task["id"].text())
        jobs.append(
            Job(
                task,
                task["id"],
                task["name"].text(),
                _names(task, "parents"),
                _names(task, "children"),
                [file for _, file in _names(task, "inputFiles")],
                [file for _, file in _names(task, "outputFiles")],
                run["runtimeInSeconds"].number() if run is not None else 0.0,
                _demand(run, "coreCount") if run is not None else ONE_CPU,
            )
        )
    return jobs, sizes


def _jobs_of_14(workflow: Cursor) -> tuple[list[Job], dict[str, int]]:
    """The tasks, by their names, and the sizes of all files: as their writers say, else as the first reader does."""
    jobs = []
    read: dict[str, int] = {}
    written: dict[str, int] = {}
    for task in workflow["tasks"].list():
        files: dict[str, list[str]] = {"input": [], "output": []}
        for file in task.list("files"):
            way = file["link"].text()
            if way not in files:
                raise file["link"].fail("should be input or output")
            name = (file["path"].text() if file.has("path") else "") + file["name"].text()
            files[way].append(name)
            (read if way == "input" else written).setdefault(name, file["sizeInBytes"].whole())
        jobs.append(
            Job(
                task,
                task["name"],
                task["name"].text(),
                _names(task, "parents"),
                _names(task, "children"),
                files["input"],
                files["output"],
                task["runtimeInSeconds"].number() if task.has("runtimeInSeconds") else 0.0,
                _demand(task, "cores"),
            )
        )
    return jobs, read | written


class _Workflow:
    """Two passes: the tasks with the files they write, then what they read."""

    def __init__(self, jobs: list[Job], sizes: dict[str, int]) -> None:
        self.graph = TaskGraph()
        self._sizes = sizes
        self._ids = {job.id for job in jobs}
        self._writers: dict[str, dict[str, str]] = {}  # of a file: task to object
        self._outside: dict[str, str] = {}  # of a file: its object
        self._tokens: dict[str, str] = {}
        for job in jobs:
            self._add(job)
        parents = self._parents(jobs)
        for job in jobs:
            self._connect(job, parents[job.id])
        acyclic(self.graph)

    def _add(self, job: Job) -> None:
        if job.id in self.graph.nx:
            raise job.key.fail("should be a new id")
        add(self.graph, job.at, job.id, cost=job.seconds, outputs=(), name=job.name, demand=job.demand)
        for index, file in enumerate(job.writes):
            self._writers.setdefault(file, {})[job.id] = self._made(f"{job.id}.{index}", file, job.id)

    def _made(self, wanted: str, file: str, maker: str = "", size: int | None = None) -> str:
        """An object, named as it is wanted if nothing else is named so."""
        id = wanted
        while id in self._ids or id in self.graph.nx:
            id = f"file:{id}"
        self.graph.object(id, self._sizes[file] if size is None else size)
        if file:
            self.graph.nx.nodes[id]["name"] = file
        if maker:
            self.graph.nx.add_edge(maker, id, kind="data")
        return id

    def _parents(self, jobs: list[Job]) -> dict[str, dict[str, None]]:
        """Of each task, as it says or as its parents say of it."""
        parents: dict[str, dict[str, None]] = {job.id: {} for job in jobs}
        for job in jobs:
            for at, other in (*job.parents, *job.children):
                if other not in parents:
                    raise at.fail("should be the id of a task")
            for _, parent in job.parents:
                parents[job.id][parent] = None
            for _, child in job.children:
                parents[child][job.id] = None
        return parents

    def _connect(self, job: Job, parents: dict[str, None]) -> None:
        """A file that nobody else writes, or only one other task does, needs no word of parents."""
        met: dict[str, None] = {}
        for file in dict.fromkeys(job.reads):
            writers = self._writers.get(file, {})
            chosen = [writer for writer in writers if writer in parents]
            if not chosen and len(writers) == 1 and job.id not in writers:
                chosen = list(writers)
            for writer in chosen:
                link(self.graph, writers[writer], job.id)
                met[writer] = None
            if not writers:
                if file not in self._outside:
                    self._outside[file] = self._made(file, file)
                link(self.graph, self._outside[file], job.id)
        for parent in parents:
            if parent not in met:
                link(self.graph, self._token(parent), job.id)

    def _token(self, parent: str) -> str:
        """An object of no bytes that says that a parent has ended."""
        if parent not in self._tokens:
            wanted = f"{parent}.{len(self.graph.outputs(parent))}"
            self._tokens[parent] = self._made(wanted, "", parent, size=0)
        return self._tokens[parent]


# ---------------------------------------------------------------- writing


def dump(
    graph: TaskGraph, *, executed_at: str, makespan_s: float = 0.0, name: str = "labray",
    description: str = "",
) -> str:  # fmt: skip
    """As a WfFormat 1.5 instance, valid by its schema. GraphError for a graph without tasks, which it cannot say.

    executed_at (ISO 8601), makespan_s (as measured): where the graph was not read with its own. A graph that never
    ran has a makespan of 0. Ids are written in the letters that the schema allows.
    """
    tasks = graph.tasks()
    if not tasks:
        raise GraphError("a WfFormat instance has one task at least; this graph has none.")
    ids = _ids(graph)
    parents = {task: _before(graph, task) for task in tasks}
    children: dict[str, list[str]] = {task: [] for task in tasks}
    for task, before in parents.items():
        for parent in before:
            children[parent].append(task)
    specified = [
        {
            "name": graph.nx.nodes[task]["name"] or task,
            "id": ids[task],
            "parents": [ids[one] for one in parents[task]],
            "children": [ids[one] for one in children[task]],
            "inputFiles": [ids[one] for one in graph.inputs(task)],
            "outputFiles": [ids[one] for one in graph.outputs(task)],
        }
        for task in tasks
    ]
    files = [{"id": ids[one], "sizeInBytes": graph.nx.nodes[one]["size"]} for one in graph.objects()]
    execution = {
        "makespanInSeconds": graph.nx.graph.get("makespan_s", makespan_s),
        "executedAt": graph.nx.graph.get("executed_at", executed_at),
        "tasks": [{"id": ids[task]} | _run(graph.nx.nodes[task]) for task in tasks],
    }
    workflow = {"specification": {"tasks": specified, "files": files}, "execution": execution}
    said = {"description": description} if description else {}
    return json.dumps(
        {"name": name or "labray", **said, "schemaVersion": "1.5", "workflow": workflow}, indent=1
    )


def _run(node: dict[str, Any]) -> dict[str, Any]:
    """How long a task took, and on what."""
    demand = dict(node["demand"])
    said: dict[str, Any] = {"runtimeInSeconds": node["cost"]}
    if demand.get("CPU", 0) >= UNIT:
        said["coreCount"] = demand["CPU"] / UNIT
    if list(demand) != ["CPU"] or demand["CPU"] < UNIT:
        said[DEMAND] = {name: units / UNIT for name, units in demand.items()}
    return said


def _ids(graph: TaskGraph) -> dict[str, str]:
    """Of each node: what the schema takes for an id, and no other node has. As it is, where that will do."""
    found = {node: node for node in graph.nx if re.fullmatch(r"[0-9a-zA-Z_.-]+", node)}
    taken = set(found)
    for node in graph.nx:
        if node not in found:
            plain = id = re.sub(r"[^0-9a-zA-Z_.-]", "_", node) or "_"
            number = 1
            while id in taken:
                number += 1
                id = f"{plain}_{number}"
            taken.add(id)
            found[node] = id
    return found


def _before(graph: TaskGraph, task: str) -> list[str]:
    """What must have ended: the makers of its inputs, and the call before it."""
    makers = [maker for object in graph.inputs(task) for maker, _ in graph.nx.in_edges(object)]
    calls = [a for a, _, kind in graph.nx.in_edges(task, data="kind") if kind == "stateful"]
    return list(dict.fromkeys((*makers, *calls)))
