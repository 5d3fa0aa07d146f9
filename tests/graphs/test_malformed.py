"""Files that are not what they should be: every reader either reads one or says where it is wrong, whatever it is."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labray
from labray.files import task_graphs, traces
from labray.graphs.formats import estee, stg, timeline, wfformat
from labray.graphs.formats.reading import FormatError
from labray.graphs.skeleton import skeleton
from labray.graphs.taskgraph import TaskGraph

STG = """# a comment
4
0 0 0
1 8 1 0
2 3 1 0
3 8 2 1 2
4 5 1 3
5 0 1 4
"""
ESTEE_GRAPH = [
    {"d": 1.5, "e_d": 2, "cpus": 1, "outputs": [{"s": 0.5}, {"s": 2}], "inputs": []},
    {"d": 2, "cpus": 2, "outputs": [{"s": 1}], "inputs": [[0, 0], [0, 1]]},
]
ESTEE = {"graph_name": {"0": "one"}, "graph": {"0": json.dumps(ESTEE_GRAPH)}}
TIMELINE = [
    {"ph": "M", "name": "process_name", "pid": "n0", "args": {"name": "Node"}},
    {"cat": "task::f", "ph": "X", "ts": 10, "dur": 5.5, "pid": "n0", "tid": "w0", "args": {"task_id": "a"}},
    {"cat": "task::C.go", "ph": "X", "ts": 12, "dur": 1, "pid": "n0", "tid": "w1",
     "args": {"task_id": "b", "actor_id": "c"}},
    {"cat": "task::C.go", "ph": "X", "ts": 14, "dur": 1, "pid": "n0", "tid": "w1",
     "args": {"task_id": "d", "actor_id": "c"}},
]  # fmt: skip
WORKFLOW = {
    "name": "w",
    "schemaVersion": "1.5",
    "workflow": {
        "specification": {
            "tasks": [
                {"id": "a", "name": "split", "parents": [], "children": ["b"], "inputFiles": ["in"],
                 "outputFiles": ["mid"]},
                {"id": "b", "name": "join", "parents": ["a"], "children": [], "inputFiles": ["mid"],
                 "outputFiles": ["out"]},
            ],
            "files": [{"id": name, "sizeInBytes": 7} for name in ("in", "mid", "out")],
        },
        "execution": {"tasks": [{"id": "a", "runtimeInSeconds": 1.5, "coreCount": 2},
                                {"id": "b", "runtimeInSeconds": 2}]},
    },
}  # fmt: skip
Reader = Callable[[str], object]
READERS: dict[str, tuple[Any, Reader]] = {
    "wfformat": (WORKFLOW, wfformat.parse),
    "estee": (ESTEE, estee.parse),
    "estee graph": (ESTEE_GRAPH, estee.one),
    "timeline": (TIMELINE, timeline.parse),
}

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 9), st.sampled_from([10**30, 10**400, -1, 1e308, 2**63, 0.5]),
    st.floats(), st.sampled_from(["", "a", "b", "a.0", "b.0", "in", "task::f", "0", "1e999", "\ud800"]),
    st.just([]), st.just({}), st.lists(st.integers(0, 2), max_size=3), st.just([[1, 0]]),
    st.dictionaries(st.sampled_from("ab"), st.integers(), max_size=2),
)  # fmt: skip
"""What may stand where something else should."""


def spots(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a document: what it is in, and the key or index there."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [spot for key in keys for spot in ((value, key), *spots(value[key]))]


@st.composite
def documents(draw: Any, valid: Any) -> str:
    """The valid one with up to three things changed, dropped, doubled or swapped."""
    document = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        found = spots(document)
        if not found:
            break
        where, key = draw(st.sampled_from(found))
        how = draw(st.sampled_from(["change", "drop", "double", "swap"]))
        if how == "drop":
            del where[key]
        elif how == "double" and isinstance(where, list):
            where.insert(key, copy.deepcopy(where[key]))
        elif how == "swap":
            other, place = draw(st.sampled_from(found))
            where[key] = copy.deepcopy(other[place]) if place in other or isinstance(other, list) else None
        else:
            where[key] = copy.deepcopy(draw(ODD))
    return json.dumps(document)


def check(graph: object) -> None:
    """What was read is a graph that everything else can work with."""
    for one in graph.values() if isinstance(graph, dict) else [graph]:
        assert isinstance(one, TaskGraph)
        one.validate()
        assert len(one.order()) == len(one.tasks())
        assert one.critical_path()[0] <= one.work() * (1 + 1e-9) + 1e-9


def read_or_refused(reader: Callable[[], object], named: str = "") -> None:
    """Anything else that is raised is a failure of the test."""
    try:
        found = reader()
    except (FormatError, traces.TraceError) as error:
        said = str(error)
    else:
        check(found)
        return
    assert said and named in said


@pytest.mark.parametrize("name", READERS)
def test_the_files_that_are_changed_here_are_read_as_they_are(name):
    valid, reader = READERS[name]
    check(reader(json.dumps(valid)))
    check(stg.parse(STG))


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_document_with_anything_wrong_in_it_is_read_or_refused_by_name(name, data):
    valid, reader = READERS[name]
    text = data.draw(documents(valid))
    read_or_refused(lambda: reader(text))


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_text_cut_or_overwritten_anywhere_is_read_or_refused_by_name(name, data):
    valid, reader = READERS[name]
    text = data.draw(texts(json.dumps(valid)))
    read_or_refused(lambda: reader(text))


@st.composite
def texts(draw: Any, valid: str) -> str:
    at = draw(st.integers(0, len(valid)))
    cut = draw(st.integers(0, 5))
    put = draw(st.text(alphabet='0123456789 \n-.eE"[]{}:,xN', max_size=4))
    return valid[:at] + put + valid[at + cut :]


@settings(max_examples=150, deadline=None)
@given(texts(STG))
def test_a_standard_task_graph_with_anything_wrong_in_it_is_read_or_refused_by_name(text):
    read_or_refused(lambda: stg.parse(text))


@pytest.mark.parametrize(
    ("reader", "text", "said"),
    [
        (stg.parse, STG.replace("3 8 2 1 2", "3 8 2 1 4"), "cycle: "),
        (stg.parse, STG.replace("3 8 2", "3 " + "9" * 5000 + " 2"), "line 6"),
        (stg.parse, STG.replace("3 8 2", "3 1" + "0" * 400 + " 2"), "line 6"),
        (estee.one, json.dumps(ESTEE_GRAPH).replace("0.5", "1e308"), r"\[0\].outputs\[0\].s"),
        (estee.one, json.dumps(ESTEE_GRAPH).replace("1.5", "1" + "0" * 400), r"\[0\].d"),
        (estee.one, json.dumps(ESTEE_GRAPH).replace("1.5", "9" * 5000), "no JSON"),
        (estee.one, json.dumps(ESTEE_GRAPH).replace("[0, 0]", "[1, 0]"), "cycle: "),
        (estee.one, "[" * 100_000, "deep"),
        (wfformat.parse, json.dumps(WORKFLOW).replace('"b"', '"a"'), r"tasks\[1\].id: should be a new id"),
        (wfformat.parse, json.dumps(WORKFLOW).replace('"inputFiles": ["in"]', '"inputFiles": ["out"]'), "cycle: "),
        (timeline.parse, json.dumps(TIMELINE).replace('"b"', '"a.0"'), r"\[2\].*a\.0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_where_it_stands(reader, text, said):
    with pytest.raises(FormatError, match=said):
        reader(text)


# ---------------------------------------------------------------- files


def zipped(text: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("graphs.json", text)
    return held.getvalue()


def recorded(path: Path) -> bytes:
    @labray.remote
    def work(number, *inputs):
        labray.spend(0.01)
        return labray.get(work.remote(number - 1)) if number else bytes(2000)

    with labray.init("sim", nodes=2, num_cpus=1, trace=path):
        labray.get([work.remote(1), work.remote(0, work.remote(0))])
    return path.read_bytes()


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, bytes]:
    return {
        "graph.zip": zipped(json.dumps(ESTEE)),
        "run.lab": recorded(tmp_path_factory.mktemp("run") / "run.lab"),
        "graph.stg": STG.encode(),
        "graph.json": json.dumps(WORKFLOW).encode(),
    }


@pytest.mark.parametrize("name", ["graph.zip", "run.lab", "graph.stg", "graph.json"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_with_its_name(originals, tmp_path_factory, name, data):
    whole = originals[name]
    at = data.draw(st.integers(0, len(whole) - 1))
    put = data.draw(st.binary(max_size=3))
    cut = data.draw(st.integers(0, 3) | st.just(len(whole)))
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(whole[:at] + put + whole[at + cut :])
    read_or_refused(lambda: task_graphs.read(path), named=str(path))
    if name == "run.lab":
        with contextlib.suppress(traces.TraceError):
            skeleton(traces.load(path)[0])


def test_a_file_that_is_not_there_is_no_matter_of_format(tmp_path):
    with pytest.raises(FileNotFoundError):
        task_graphs.read(tmp_path / "none.stg")
