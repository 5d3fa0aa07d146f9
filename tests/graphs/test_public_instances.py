"""An oracle for the readers: every public instance at hand, against a second reading of twenty lines.

The second reading shares nothing with the first. It is tasks (seconds, cores, bytes taken, bytes made) and the pairs
of tasks of which one awaits the other.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from labray.files import task_graphs
from labray.graphs.taskgraph import TaskGraph
from labray.messages import UNIT
from tests.kit.paths import DATA

STGS = sorted(DATA.glob("stg/**/*.stg"))
WORKFLOWS = sorted(DATA.glob("wfinstances/*.json"))
TABLES = sorted(DATA.glob("estee/*.zip"))

Plain = tuple[dict[str, tuple[float, float, int, int]], set[tuple[str, str]]]


@pytest.fixture(autouse=True)
def _there() -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not on this machine")


def test_there_is_something_to_read():
    assert (len(STGS), len(WORKFLOWS), len(TABLES)) >= (1, 1, 1)


def plainly(graph: TaskGraph) -> Plain:
    """What was read, in the words of the second reading."""
    nodes, makers = graph.nx.nodes, graph.nx.predecessors
    weigh = lambda objects: sum(nodes[object]["size"] for object in objects)  # noqa: E731
    return {
        task: (
            nodes[task]["cost"],
            dict(nodes[task]["demand"]).get("CPU", 0) / UNIT,
            weigh(graph.inputs(task)),
            weigh(graph.outputs(task)),
        )
        for task in graph.tasks()
    }, {(maker, task) for task in graph.tasks() for object in graph.inputs(task) for maker in makers(object)}


def longest(plain: Plain) -> float:
    """Seconds of the longest chain, by relaxing until nothing moves."""
    tasks, pairs = plain
    ends = {task: figures[0] for task, figures in tasks.items()}
    moved = True
    while moved:
        moved = False
        for before, after in pairs:
            end = ends[before] + tasks[after][0]
            if end > ends[after] + 1e-9:
                ends[after], moved = end, True
    return max(ends.values())


# ---------------------------------------------------------------- the second readings


def plain_stg(path: Path) -> Plain:
    numbers = [[int(word) for word in line.split()] for line in path.read_text().split("#")[0].splitlines()]
    (count,), *rows = [row for row in numbers if row]
    rows = [row for row in rows[: count + 2] if 0 < row[0] <= count]
    tasks = {str(id): (float(time), 1.0, 0, 0) for id, time, *_ in rows}
    return tasks, {(str(one), str(row[0])) for row in rows for one in row[3:] if one}


def plain_workflow(path: Path) -> Plain:
    workflow = json.loads(path.read_text())["workflow"]
    specified, runs = workflow["specification"], {run["id"]: run for run in workflow["execution"]["tasks"]}
    size = {file["id"]: file["sizeInBytes"] for file in specified["files"]}
    writers: dict[str, set[str]] = {}
    for task in specified["tasks"]:
        for file in task["outputFiles"]:
            writers.setdefault(file, set()).add(task["id"])
    pairs = {(parent, task["id"]) for task in specified["tasks"] for parent in task["parents"]}
    pairs |= {(task["id"], child) for task in specified["tasks"] for child in task["children"]}
    found = {}
    for task in specified["tasks"]:
        id, taken = task["id"], 0
        for file in set(task["inputFiles"]):
            others = {one for one in writers.get(file, set()) if (one, id) in pairs}
            if not others and len(writers.get(file, set())) == 1 and id not in writers[file]:
                others = writers[file]
            pairs |= {(one, id) for one in others}
            taken += size[file] * (len(others) if file in writers else 1)
        made = sum(size[file] for file in task["outputFiles"])
        found[id] = (runs[id]["runtimeInSeconds"], runs[id].get("coreCount", 1), taken, made)
    return found, pairs


def plain_table(path: Path) -> dict[str, Plain]:
    with zipfile.ZipFile(path) as archive:
        table = json.loads(archive.read(archive.namelist()[0]))
    found = {}
    for key, name in table["graph_name"].items():
        tasks = json.loads(table["graph"][key])
        size = [[round(output["s"] * 1e6) for output in task["outputs"]] for task in tasks]
        inputs = [{tuple(pair) for pair in task["inputs"]} for task in tasks]
        found[name] = (
            {
                str(at): (task["d"], task["cpus"], sum(size[a][b] for a, b in inputs[at]), sum(size[at]))
                for at, task in enumerate(tasks)
            },
            {(str(maker), str(at)) for at, pairs in enumerate(inputs) for maker, _ in pairs},
        )
    return found


# ---------------------------------------------------------------- and ours


def agree(graph: TaskGraph, expected: Plain) -> None:
    assert plainly(graph) == expected
    assert graph.critical_path()[0] == pytest.approx(longest(expected))
    assert graph.work() == pytest.approx(sum(figures[0] for figures in expected[0].values()))


@pytest.mark.parametrize("path", STGS, ids=lambda path: path.stem)
def test_a_standard_task_graph_is_read_as_plainly_as_it_stands(path):
    agree(task_graphs.read(path), plain_stg(path))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_read_as_plainly_as_it_stands(path):
    agree(task_graphs.read(path), plain_workflow(path))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_says_the_same_in_the_words_of_version_14(path, tmp_path):
    document = json.loads(path.read_text())
    (tmp_path / "w.json").write_text(json.dumps(in_14(document)))
    was, now = task_graphs.read(path), task_graphs.read(tmp_path / "w.json")
    assert plainly(now) == plainly(was)
    assert now.nx.graph == was.nx.graph


def in_14(document: dict[str, Any]) -> dict[str, Any]:
    """A task carries its files and its run; tasks are called by their names, which are their ids here."""
    workflow = document["workflow"]
    specified, execution = workflow["specification"], workflow["execution"]
    size = {file["id"]: file["sizeInBytes"] for file in specified["files"]}
    runs = {run["id"]: run for run in execution["tasks"]}
    tasks = []
    for task in specified["tasks"]:
        run = runs[task["id"]]
        links = [("input", one) for one in task["inputFiles"]]
        links += [("output", one) for one in task["outputFiles"]]
        tasks.append(
            {
                "name": task["id"], "type": "compute", "parents": task["parents"], "children": task["children"],
                "files": [{"link": way, "name": one, "sizeInBytes": size[one]} for way, one in links],
                "runtimeInSeconds": run["runtimeInSeconds"],
            }
            | ({"cores": run["coreCount"]} if "coreCount" in run else {})
        )  # fmt: skip
    told = {name: execution[name] for name in ("makespanInSeconds", "executedAt")}
    return {"name": "w", "schemaVersion": "1.4", "workflow": {**told, "tasks": tasks}}


@pytest.mark.slow
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_table_of_graphs_is_read_as_plainly_as_it_stands(path):
    for name, expected in plain_table(path).items():
        agree(task_graphs.read(path, name), expected)
