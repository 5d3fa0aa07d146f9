"""Others' recordings: read as they are, refused where they are wrong, and written so that they are read back."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import labray
from labray import trace
from labray.cli import main
from labray.files import task_graphs, traces
from labray.files.task_graphs import read
from labray.graphs import GraphError, TaskGraph
from labray.graphs.formats import estee, stg, timeline, wfformat
from labray.graphs.formats.reading import FormatError
from labray.messages import UNIT
from tests.kit.paths import DATA
from tests.kit.wfformat_schema import faults


def shared(path: str) -> Path:
    if not (DATA / path).exists():
        pytest.skip(f"{DATA / path} is not on this machine")
    return DATA / path


# ---------------------------------------------------------------- Standard Task Graphs

STG = """\
  3
  0 0 0
  1 4 1 0
  2 5 1 0
  3 6 2 1 2
  4 0 1 3
# a comment
"""


def test_an_stg_loses_its_dummies_and_keeps_its_order():
    graph = stg.parse(STG)
    assert graph.tasks() == ["1", "2", "3"]
    assert graph.inputs("3") == ["1.0", "2.0"]
    assert graph.critical_path() == (11.0, ["2", "3"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  3\n", "  x\n", r"line 1: .*'x'"),
        ("  3\n", "  9\n", r"line 1: 9 tasks make 11 lines"),
        ("  1 4 1 0", "  1 4 2 0", r"line 3: task 1 has 2 predecessors; 1 are named"),
        ("  1 4 1 0", "  1 4", r"line 3: should be `id"),
        ("  1 4 1 0", "  1 -4 1 0", r"line 3: .*'-4'"),
        ("  1 4 1 0", "  7 4 1 0", r"line 3: should be task 1, not 7"),
        ("  1 4 1 0", "  1 4 1 8", r"line 3: task 1 has predecessor 8"),
        ("  1 4 1 0", "  1 4 1 3", r"cycle: .*3.* -> .*1"),
        (STG, "", r"line 1: .*empty"),
    ],
)
def test_a_malformed_stg_is_refused_with_its_line(old, new, said):
    with pytest.raises(FormatError, match=said):
        stg.parse(STG.replace(old, new))


def test_the_published_stg_files_are_read():
    folder = shared("stg/50")
    for path in sorted(folder.glob("*.stg"))[:20]:
        graph = read(path)
        assert len(graph.tasks()) == 50
        promised = next(line for line in path.read_text().splitlines() if "CP Length" in line)
        assert graph.critical_path()[0] == float(promised.rpartition(":")[2])


# ---------------------------------------------------------------- WfFormat


def workflow() -> dict:
    specification = {
        "tasks": [
            {"name": "join", "id": "j", "parents": ["a", "b"], "children": [], "inputFiles": ["x"]},
            {
                "name": "make",
                "id": "a",
                "parents": [],
                "children": ["j"],
                "inputFiles": ["in"],
                "outputFiles": ["x"],
            },
            {"name": "make", "id": "b", "parents": [], "children": ["j"], "outputFiles": ["x"]},
            {"name": "wait", "id": "w", "parents": ["j"], "children": []},
        ],
        "files": [{"id": "in", "sizeInBytes": 5}, {"id": "x", "sizeInBytes": 7}],
    }
    ran = [{"id": "a", "runtimeInSeconds": 2.5, "coreCount": 2}, {"id": "j", "runtimeInSeconds": 1}]
    execution = {"makespanInSeconds": 4, "executedAt": "2020-01-01T00:00:00Z", "tasks": ran}
    return {
        "name": "w",
        "schemaVersion": "1.5",
        "workflow": {"specification": specification, "execution": execution},
    }


def test_a_workflow_has_a_file_of_each_writer_and_a_token_where_no_file_says_who_comes_first():
    graph = wfformat.parse(json.dumps(workflow()))
    assert graph.tasks() == ["j", "a", "b", "w"]
    assert graph.inputs("a") == ["in"]
    assert graph.inputs("j") == ["a.0", "b.0"]
    assert graph.inputs("w") == ["j.0"]
    assert (graph.nx.nodes["a.0"]["size"], graph.nx.nodes["j.0"]["size"]) == (7, 0)
    assert graph.nx.nodes["a"]["demand"] == (("CPU", 2 * UNIT),)
    assert graph.critical_path() == (3.5, ["a", "j"])


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("schemaVersion",), "0.9", "schemaVersion: .*'0.9'"),
        (("workflow", "specification", "tasks"), 3, "workflow.specification.tasks: should be a list, not 3"),
        (("workflow", "specification", "tasks", 1, "id"), "j", r"tasks\[1\].id: should be a new id"),
        (("workflow", "specification", "tasks", 1, "outputFiles"), ["no"], r"tasks\[1\].outputFiles\[0\]"),
        (("workflow", "specification", "tasks", 0, "parents"), ["no"], r"tasks\[0\].parents\[0\]: .*'no'"),
        (("workflow", "specification", "files", 0, "sizeInBytes"), -1, r"files\[0\].sizeInBytes: .*-1"),
        (("workflow", "specification", "files", 0, "sizeInBytes"), "5", r"files\[0\].sizeInBytes: .*'5'"),
        (("workflow", "execution", "tasks", 0, "runtimeInSeconds"), None, r"tasks\[0\].runtimeInSeconds: "),
        (("workflow", "specification", "tasks", 1, "parents"), ["w"], "cycle: .*->"),
    ],
)
def test_a_malformed_workflow_is_refused_with_its_key(place, value, said):
    document = workflow()
    at = document
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    with pytest.raises(FormatError, match=said):
        wfformat.parse(json.dumps(document))


def test_files_and_tasks_may_have_each_others_names():
    apart, chain, dotted = workflow(), workflow(), workflow()
    apart["workflow"]["specification"] = {
        "tasks": [
            {"name": "sort", "id": "sort", "parents": [], "children": []},
            {"name": "merge", "id": "merge", "parents": [], "children": [], "inputFiles": ["sort"]},
        ],
        "files": [{"id": "sort", "sizeInBytes": 120_000}],
    }
    graph = wfformat.parse(json.dumps(apart))
    (taken,) = graph.inputs("merge")
    assert (graph.inputs("sort"), graph.nx.nodes[taken]["size"]) == ([], 120_000)
    chain["workflow"]["specification"] = {
        "tasks": [
            {"name": "a", "id": "a", "parents": [], "children": ["b"], "inputFiles": ["b"]},
            {"name": "b", "id": "b", "parents": ["a"], "children": []},
        ],
        "files": [{"id": "b", "sizeInBytes": 1000}],
    }
    graph = wfformat.parse(json.dumps(chain))
    assert (graph.inputs("a"), graph.inputs("b")) == (["file:b"], ["a.0"])
    dotted["workflow"]["specification"] = {  # what we would call an object of a, a token of a, and an input
        "tasks": [
            {
                "name": "a",
                "id": "a",
                "parents": [],
                "children": ["a.1"],
                "inputFiles": ["a.0"],
                "outputFiles": ["x"],
            },
            {"name": "a", "id": "a.0", "parents": ["a"], "children": [], "inputFiles": ["x", "file:a.0"]},
            {"name": "a", "id": "a.1", "parents": ["a"], "children": []},
        ],
        "files": [{"id": id, "sizeInBytes": 3} for id in ("x", "a.0", "file:a.0")],
    }
    graph = wfformat.parse(json.dumps(dotted))
    assert graph.tasks() == ["a", "a.0", "a.1"] == graph.order()
    assert [len(graph.inputs(task)) for task in graph.tasks()] == [1, 2, 1]


def workflow_14() -> dict:
    """As the schema of 1.4 has it: names are what tasks call each other by."""
    link = lambda way, name, size: {"link": way, "name": name, "sizeInBytes": size}  # noqa: E731
    tasks = [
        {"name": "split_1", "id": "ID1", "type": "compute", "parents": [], "children": ["cat_2"],
         "runtimeInSeconds": 1.5, "cores": 1, "files": [link("output", "part", 100), link("input", "in", 7)]},
        {"name": "cat_2", "id": "ID2", "type": "compute", "parents": ["split_1"], "children": [],
         "runtimeInSeconds": 2.5, "cores": 2, "files": [link("input", "part", 99)]},
    ]  # fmt: skip
    told = {"makespanInSeconds": 4.0, "executedAt": "20201230T022413Z", "machines": [{"nodeName": "w1"}]}
    return {"name": "w", "schemaVersion": "1.4", "workflow": {**told, "tasks": tasks}}


def test_a_workflow_of_version_14_is_read_as_its_schema_has_it():
    graph = wfformat.parse(json.dumps(workflow_14()))
    assert graph.critical_path() == (4.0, ["split_1", "cat_2"])
    sizes = [[graph.nx.nodes[o]["size"] for o in graph.inputs(task)] for task in graph.tasks()]
    assert sizes == [[7], [100]]
    assert graph.nx.nodes["cat_2"]["demand"] == (("CPU", 2 * UNIT),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "cat_2"}, r"tasks\[1\].name: should be a new id"),
        ({"files": [{"link": "both", "name": "x", "sizeInBytes": 1}]}, r"tasks\[0\].files\[0\].link"),
        ({"runtimeInSeconds": -1}, r"tasks\[0\].runtimeInSeconds"),
        ({"parents": ["ID2"]}, r"tasks\[0\].parents\[0\]"),
    ],
)
def test_a_malformed_workflow_of_version_14_is_refused_with_its_key(change, said):
    document = workflow_14()
    document["workflow"]["tasks"][0] |= change
    with pytest.raises(FormatError, match=said):
        wfformat.parse(json.dumps(document))


def test_what_is_no_json_is_refused_with_its_line():
    with pytest.raises(FormatError, match="line 2, column 1"):
        wfformat.parse("{\n")
    with pytest.raises(FormatError, match="NaN"):
        wfformat.parse("[NaN]")
    with pytest.raises(FormatError, match="nested too deeply"):
        wfformat.parse("[" * 100_000)
    with pytest.raises(FormatError, match=r"workflow\.specification: is missing"):
        wfformat.parse('{"schemaVersion": "1.5", "workflow": {}}')


NEVER = "2026-01-01T00:00:00+00:00"


def written(graph: TaskGraph) -> str:
    """As WfFormat, which must be valid by the schema whatever the graph is."""
    text = wfformat.dump(graph, executed_at=NEVER)
    assert not faults(json.loads(text))
    return text


def test_the_recorded_workflows_are_read_and_written_back():
    for path in sorted(shared("wfinstances").glob("*.json")):
        graph = read(path)
        document = json.loads(wfformat.dump(graph, executed_at=NEVER))
        own = json.loads(path.read_text())["workflow"]["execution"]
        execution = document["workflow"]["execution"]
        assert execution["makespanInSeconds"] == own["makespanInSeconds"]
        assert execution["executedAt"] == own["executedAt"]
        execution["executedAt"] = NEVER  # some of theirs are in no known form
        assert not faults(document)
        again = wfformat.parse(json.dumps(document))
        assert shape(again) == shape(graph)


def shape(graph: TaskGraph) -> list[object]:
    """All but ids, which are written in fewer letters."""
    place = {node: at for at, node in enumerate(graph.tasks())}
    return [
        (
            {key: value for key, value in graph.nx.nodes[task].items() if key != "place"},
            sorted(graph.nx.nodes[object]["size"] for object in graph.inputs(task)),
            sorted(place[maker] for object in graph.inputs(task) for maker in graph.nx.predecessors(object)),
        )
        for task in graph.tasks()
    ]


@st.composite
def graphs(draw) -> TaskGraph:
    """Tasks with inputs among what is there before them, costs, sizes and requests."""
    graph = TaskGraph()
    if draw(st.booleans()):
        graph.object("outside", draw(st.integers(0, 10**12)))
    for _ in range(draw(st.integers(1, 8))):
        inputs = draw(st.lists(st.sampled_from(graph.objects()), unique=True)) if graph.objects() else []
        units = draw(st.integers(0, 4 * UNIT))
        graph.task(
            cost=draw(st.floats(0, 1e6)),
            inputs=inputs,
            outputs=draw(st.lists(st.integers(0, 10**12), max_size=3)),
            name=draw(st.text('ab"\\ é\n', min_size=1)),
            demand=(("CPU", units),) if units else (),
        )
    return graph


def test_a_graph_of_nothing_has_no_wfformat():
    with pytest.raises(GraphError, match="one task at least"):
        wfformat.dump(TaskGraph(), executed_at=NEVER)


def test_ids_are_written_in_the_letters_that_the_schema_allows():
    graph = TaskGraph()
    graph.task("a b", cost=1.0, outputs=(5,), name="")
    graph.task("a_b", cost=2.0, inputs=["a b"], demand=(("CPU", UNIT // 2), ("GPU", UNIT)))
    graph.task("(0, 'é')", cost=3.0, inputs=["a_b"], demand=())
    again = wfformat.parse(written(graph))
    assert again.tasks() == ["a_b_2", "a_b", "_0___\u00e9__".replace("\u00e9", "_")]
    assert [row[1:] for row in shape(again)] == [row[1:] for row in shape(graph)]
    assert again.nx.nodes["a_b"]["demand"] == graph.nx.nodes["a_b"]["demand"]


def facts(graph: TaskGraph) -> object:
    tasks = {
        t: (graph.nx.nodes[t]["name"], graph.nx.nodes[t]["cost"], graph.nx.nodes[t]["demand"])
        for t in graph.tasks()
    }
    used = {o: graph.nx.nodes[o]["size"] for o in graph.objects() if graph.nx.degree(o)}
    return tasks, used, set(graph.nx.edges)


@given(graphs())
def test_a_graph_written_as_a_workflow_is_read_back_as_it_was(graph):
    assert facts(wfformat.parse(written(graph))) == facts(graph)


@given(graphs())
def test_a_graph_written_as_an_stg_keeps_its_shape(graph):
    again = stg.parse(stg.dump(graph))
    assert len(again.tasks()) == len(graph.tasks())
    # nothing is off by more than a share of it, or half of the least unit
    assert again.critical_path()[0] == pytest.approx(graph.critical_path()[0], rel=0.006, abs=1e-8)
    assert again.work() == pytest.approx(graph.work(), rel=0.006, abs=1e-8)
    assert stg.dump(stg.parse(stg.dump(again))) == stg.dump(again)


@pytest.mark.parametrize(
    ("cost", "unit"), [(3.0, None), (0.25, "1e-03"), (12e-6, "1e-06"), (1.5e-9, "1e-12")]
)
def test_short_tasks_are_written_as_an_stg_in_a_unit_that_shows_them(cost, unit):
    graph = TaskGraph()
    graph.task("a", cost=cost)
    graph.task("b", cost=2 * cost, inputs=["a"])
    text = stg.dump(graph)
    assert (f"# labray: one unit of time is {unit} s" in text) == (unit is not None)
    assert "#" in text or unit is None
    assert stg.parse(text).critical_path()[0] == pytest.approx(3 * cost)


# ---------------------------------------------------------------- Estee


def table(*tasks: dict) -> str:
    return json.dumps({"graph_name": {"0": "one"}, "graph_id": {"0": "x"}, "graph": {"0": json.dumps(tasks)}})


FIRST = {"d": 2.0, "e_d": None, "cpus": 1, "outputs": [{"s": 0.5, "e_s": 1}], "inputs": []}


def test_an_estee_graph_has_durations_megabytes_and_cores():
    second = {"d": 3, "e_d": 4, "cpus": 2, "outputs": [], "inputs": [[0, 0]]}
    graph = estee.parse(table(FIRST, second))["one"]
    assert graph.inputs("1") == ["0.0"]
    assert graph.nx.nodes["0.0"]["size"] == 500_000
    assert graph.nx.nodes["1"]["demand"] == (("CPU", 2 * UNIT),)
    assert graph.nx.nodes["1"]["expected"] == 4
    assert graph.work() == 5.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"d": -1}, r"graph.0 \(one\): \[0\].d: .*-1"),
        ({"cpus": 1.5}, r"\[0\].cpus: should be a whole number, not 1.5"),
        ({"inputs": [[3, 0]]}, r"\[0\].inputs\[0\]: should name a task"),
        ({"inputs": [[0]]}, r"\[0\].inputs\[0\]: should be \[task, output\]"),
        ({"inputs": [[0, 0]]}, r"cycle: 0 -> 0.0 -> 0"),
        ({"outputs": None}, r"\[0\].outputs: should be a list"),
    ],
)
def test_a_malformed_estee_graph_is_refused_with_its_key(change, said):
    with pytest.raises(FormatError, match=said):
        estee.parse(table({**FIRST, **change}))


def test_estees_own_graphs_are_read_from_their_archives():
    graph = read(shared("estee/irw.zip"), "mapreduce")
    assert (len(graph.tasks()), len(graph.objects())) == (321, 25_760)
    with pytest.raises(FormatError, match="no graph 'nothing'"):
        read(shared("estee/pegasus.zip"), "nothing")


# ---------------------------------------------------------------- a Ray timeline


def event(category: str, began: float, lasted: float, **arguments: str) -> dict:
    return {
        "cat": category, "name": category, "ph": "X", "pid": "node1", "tid": "worker1",
        "ts": began, "dur": lasted, "cname": "generic_work", "args": arguments,
    }  # fmt: skip


TIMELINE = [
    {"name": "process_name", "ph": "M", "pid": "node1", "args": {"name": "Node 10.0.0.1"}},
    event("task::A.add", 9e6, 1e6, task_id="t3", actor_id="a1"),
    event("task::A.__init__", 1e6, 2e6, task_id="t1", actor_id="a1"),
    event("task::f", 2e6, 1e6, task_id="t2"),
    event("task::f", 4e6, 3e6, task_id="t2"),  # its second attempt
    event("task:execute", 4e6, 3e6, task_id="t2"),
    event("task::A.add", 7e6, 1e6, task_id="t4", actor_id="a1"),
]


def test_a_timeline_gives_durations_and_the_order_of_calls_on_an_actor():
    graph = timeline.parse(json.dumps(TIMELINE))
    assert graph.tasks() == ["t1", "t2", "t4", "t3"]
    assert [graph.nx.nodes[task]["kind"] for task in graph.tasks()] == ["actor", "task", "method", "method"]
    assert graph.critical_path() == (4.0, ["t1", "t4", "t3"])
    assert graph.nx.nodes["t2"]["cost"] == 3.0
    assert graph.nx.nodes["t2"]["place"] == "node1"


EPOCH = 1653340563740958.5
"""Microseconds since 1970, as every Ray writes them."""
WORKER = {"pid": "127.0.0.1", "tid": "worker:c1667f12f9013f74dc756ddd8c2dbaf46a48ed6fd3111f2b2e6c3979"}


def test_a_timeline_as_ray_2_writes_it_counts_from_1970_and_names_no_actors():
    other = {**WORKER, "tid": "worker:44676a20"}
    events = [
        event("task::f", EPOCH, 2.5e6, name="f", task_id="t0"),
        event("task::A.__init__", EPOCH + 1e6, 1e6, name="A.__init__", task_id="t1") | WORKER,
        event("task:execute", EPOCH + 1e6, 1e6) | WORKER,
        event("task::A.go", EPOCH + 5e6, 1e6, name="A.go", task_id="t3") | WORKER,
        event("task::A.go", EPOCH + 3e6, 2e6, name="A.go", task_id="t2") | WORKER,
        event("task::B.of_a_module", EPOCH + 9e6, 1e6, name="g", task_id="t4") | WORKER,
        event("task::A.go", EPOCH + 9e6, 1e6, name="A.go", task_id="t5") | other,
    ]
    graph = timeline.parse(json.dumps(events))
    kinds = {task: graph.nx.nodes[task]["kind"] for task in graph.tasks()}
    assert kinds == {"t0": "task", "t1": "actor", "t2": "method", "t3": "method", "t4": "task", "t5": "task"}
    assert graph.critical_path() == (4.0, ["t1", "t2", "t3"])
    assert graph.work() == 8.5
    assert graph.nx.nodes["t0"]["began"] == pytest.approx(EPOCH / 1e6)


def test_a_timeline_as_the_dashboard_writes_it_says_that_a_task_has_no_actor():
    told = {"task_id": "t0", "job_id": "01", "attempt_number": 0, "func_or_class_name": "f", "actor_id": None}
    spans = [event("task::f", EPOCH, 1e6) | {"args": told, "pid": 0, "tid": 3}]
    label = {"ph": "M", "name": "process_name", "pid": 0, "args": {"name": "Node 10.0.0.1"}}
    graph = timeline.parse(json.dumps([*spans, label]))
    assert [graph.nx.nodes[task]["kind"] for task in graph.tasks()] == ["task"]


def test_a_timeline_as_ray_1_writes_it_has_tasks_without_names():
    parts = ("task:deserialize_arguments", "task:execute", "task:store_outputs")
    events = [event("task", EPOCH + at * 1e6, 0.5e6) | WORKER for at in range(3)]
    events += [event(part, EPOCH, 0.1e6) | WORKER for part in parts]
    graph = timeline.parse(json.dumps(events))
    assert graph.work() == 1.5
    assert {graph.nx.nodes[task]["name"] for task in graph.tasks()} == {"task"}


def test_a_malformed_timeline_is_refused_with_its_event():
    with pytest.raises(FormatError, match=r"\[3\].dur: should be a number, not 'long'"):
        timeline.parse(json.dumps([*TIMELINE[:3], {**TIMELINE[3], "dur": "long"}]))
    with pytest.raises(FormatError, match=r"\[0\].ts: is missing"):
        timeline.parse('[{"cat": "task::f", "ph": "X"}]')
    with pytest.raises(FormatError, match=r"\[0\]: should be an object, not 1"):
        timeline.parse("[1]")


# ---------------------------------------------------------------- files


def test_a_file_is_read_by_what_it_is_and_named_where_it_is_none(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(workflow()))
    (tmp_path / "t.json").write_text(json.dumps({"traceEvents": TIMELINE}))
    (tmp_path / "g.stg").write_text(STG)
    (tmp_path / "bad.json").write_text('{"some": "thing"}')
    (tmp_path / "bad.zip").write_text("not zipped")
    traces.save(tmp_path / "run.lab", [(0.0, "submitted", "n0", "d-0", ("f", "task", "d", (), "", None))])
    sizes = {name: len(read(tmp_path / name).tasks()) for name in ("w.json", "t.json", "g.stg", "run.lab")}
    assert sizes == {"w.json": 4, "t.json": 4, "g.stg": 3, "run.lab": 1}
    for bad in ("bad.json", "bad.zip"):
        with pytest.raises(FormatError, match=bad):
            read(tmp_path / bad)


@settings(max_examples=200)
@given(st.binary() | st.text())
def test_no_text_breaks_a_reader_in_any_other_way(text):
    for parse in (wfformat.parse, estee.parse, timeline.parse):
        with pytest.raises(GraphError):
            parse(text)
    if isinstance(text, str):
        try:
            stg.parse(text)
        except FormatError:
            return


def test_a_zip_that_unpacks_to_more_than_anyone_publishes_is_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "g.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("g.json", "[" + " " * 10_000_000 + "]")
    assert read(tmp_path / "g.zip").tasks() == []
    monkeypatch.setattr(task_graphs, "MOST_UNZIPPED", 2**20)
    with pytest.raises(FormatError, match=r"g.zip: holds more than 1 MiB"):
        read(tmp_path / "g.zip")


def test_a_file_of_one_graph_has_none_of_another_name(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(workflow()))
    (tmp_path / "t.json").write_text(json.dumps(TIMELINE))
    (tmp_path / "g.stg").write_text(STG)
    (tmp_path / "e.json").write_text(table(FIRST))
    traces.save(tmp_path / "run.lab", [])
    for name in ("w.json", "t.json", "g.stg", "e.json", "run.lab"):
        with pytest.raises(FormatError, match="there is no graph 'nosuch'"):
            read(tmp_path / name, "nosuch")
    assert len(read(tmp_path / "e.json", "one").tasks()) == 1


def test_a_trace_goes_to_perfetto_with_a_slice_for_each_run(tmp_path):
    ran = (3.0, "ran", "n0", "d-0", ("n0/w0", 0, 1.0, 3.0, 2.0))
    traces.export(
        tmp_path / "run.json", [(0.0, "submitted", "n0", "d-0", ("f", "task", "d", (), "", None)), ran]
    )
    (slice,) = [e for e in json.loads((tmp_path / "run.json").read_text())["traceEvents"] if e["ph"] == "X"]
    assert (slice["name"], slice["ts"], slice["dur"]) == ("f", 1e6, 2e6)


def test_the_command_exports_recordings_and_graphs(tmp_path):
    (tmp_path / "g.stg").write_text(STG)
    out = tmp_path / "out.json"
    result = CliRunner().invoke(main, ["export", str(tmp_path / "g.stg"), str(out), "--to", "wfformat"])
    assert result.exit_code == 0, result.output
    assert facts(read(out)) == facts(stg.parse(STG))
    result = CliRunner().invoke(main, ["export", str(tmp_path / "g.stg"), str(out), "--to", "perfetto"])
    assert result.exit_code == 1
    assert "only a recording" in result.output


@labray.remote
class Counter:
    def go(self):
        labray.spend(0.25)


@labray.remote(num_cpus=0.5, resources={"R": 1})
def half():
    labray.spend(0.125)


@pytest.mark.parametrize("backend", ["inline", "sim"])
def test_a_recording_is_exported_as_a_valid_run_that_says_how_long_it_took_and_when(tmp_path, backend):
    path, out = tmp_path / "run.lab", tmp_path / "run.json"
    with labray.init(backend, num_cpus=2, resources={"R": 2}, trace=path):
        counter = Counter.remote()
        labray.get([half.remote(), half.remote(), counter.go.remote()])
    assert CliRunner().invoke(main, ["export", str(path), str(out), "--to", "wfformat"]).exit_code == 0
    document = json.loads(out.read_text())
    assert not faults(document)
    events, about = traces.load(path)
    execution = document["workflow"]["execution"]
    assert execution["makespanInSeconds"] == trace.measure(events).makespan_s
    assert about.get("recorded_at", execution["executedAt"]) == execution["executedAt"] > "2026"
    assert ("simulated" in document["description"]) == (backend == "sim")
    assert shape(read(out)) == shape(without_kinds(TaskGraph.from_trace(path)))
    assert CliRunner().invoke(main, ["export", str(path), str(out), "--to", "stg"]).exit_code == 0
    assert stg.parse(out.read_text()).work() == pytest.approx(TaskGraph.from_trace(path).work(), rel=0.01)


def without_kinds(graph: TaskGraph) -> TaskGraph:
    """As it is in WfFormat: calls are tasks, and what orders them is an object of no bytes."""
    for task in graph.tasks():
        graph.nx.nodes[task]["kind"] = "task"
    for a, b, kind in list(graph.nx.edges(data="kind")):
        if kind == "stateful":
            graph.nx.remove_edge(a, b)
            if not graph.outputs(a) or not graph.nx.has_edge(graph.outputs(a)[-1], b):
                graph.nx.add_edge(a, graph.object(f"{a}.token", 0), kind="data")
                graph.nx.add_edge(f"{a}.token", b, kind="data")
    return graph
