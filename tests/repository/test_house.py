"""The house keeps its plan: imports go down, floors 0 to 2 are pure, and budgets count what is bad, not lines.

What is counted, and how, is in tests/house.py. What does not keep a budget stands in house_debts.toml with a reason,
and that list may only shrink: what is not on it fails, and so does what is on it without need.
"""

from __future__ import annotations

import ast
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard, TypeVar

import pytest

from tests.repository.house import ROOT, House

Node = TypeVar("Node", bound=ast.AST)
HOUSE = House(ROOT)
STOP_AT_LINES = 600
PURE = 2
"""The highest floor that knows no clock, no chance, no thread, no wire and no file."""
IMPURE = {
    "asyncio", "datetime", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil", "simpy", "socket",
    "subprocess", "tempfile", "threading", "time", "uuid", "zmq",
}  # fmt: skip
OPENING = {"read_bytes", "read_text", "unlink", "write_bytes", "write_text"}

NO_BUDGET = {"reaches across packages", "pairs of files that reach both ways"}
COUNTED = {name: found for name, found in HOUSE.figures().items() if isinstance(found, list)}
BUDGETS = [name for name in COUNTED if name not in NO_BUDGET]
DEBTS = {
    (debt["budget"], name): debt["why"]
    for debt in tomllib.loads((ROOT / "tests" / "repository" / "house_debts.toml").read_text())["debt"]
    for name in debt["names"]
}


def label(line: str) -> str:
    """What stands for a finding in the list of debts: without the number or the places behind it."""
    return line.partition(" (")[0].partition(": ")[0]


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_budget_is_kept(budget):
    found = COUNTED[budget]
    excused = {name for counted, name in DEBTS if counted == budget}
    new = [line for line in found if label(line) not in excused]
    assert not new, f"{budget}:\n" + "\n".join(new)
    paid = excused - {label(line) for line in found}
    assert not paid, f"no longer among the {budget}: take them off the list\n" + "\n".join(sorted(paid))


def test_every_debt_is_of_a_budget_and_has_a_reason():
    for (budget, name), why in DEBTS.items():
        assert budget in BUDGETS, f"{name}: nobody counts {budget!r}"
        assert why, name


def test_every_file_ends_before_line_600():
    assert [name for name, module in HOUSE.modules.items() if module.lines > STOP_AT_LINES] == []


def test_the_glossary_is_in_alphabetic_order_and_explains_each_term_once():
    _, _, table = (ROOT / "docs" / "glossary.md").read_text().partition("## Terms")
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    terms = [row[0].lower() for row in rows]
    assert terms == sorted(set(terms))
    assert all(len(row) == 5 and row[1].endswith(".") for row in rows)


# ---------------------------------------------------------------- what a floor may know


def test_the_lower_floors_have_no_clock_chance_thread_wire_or_file():
    found = []
    for name, module in HOUSE.modules.items():
        if int(HOUSE.floor_of(name)) <= PURE:
            imported = {other.partition(".")[0] for other, _, checking in module.imported if not checking}
            found += [f"{name} imports {impure}" for impure in sorted(imported & IMPURE)]
            found += [
                f"{name} opens a file in line {node.lineno}" for node in ast.walk(module.tree) if opens(node)
            ]
    assert found == []


def opens(node: ast.AST) -> TypeGuard[ast.Call]:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    return (isinstance(called, ast.Name) and called.id == "open") or (
        isinstance(called, ast.Attribute) and called.attr in OPENING
    )


def test_only_backends_name_a_world():
    """All others ask the registry for it by name, and the contract for what it can do."""
    assert [
        f"{name} -> {there}"
        for name, module in HOUSE.modules.items()
        if not name.startswith("labray.backends")
        for there in HOUSE.imports(module)
        if there.startswith("labray.backends.") and there != "labray.backends.contract"
    ] == []


def test_imports_are_absolute():
    assert [name for name, node in nodes(ast.ImportFrom) if node.level] == []


def test_no_room_is_named_after_nothing():
    empty = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [name for name in HOUSE.modules if empty & set(name.split("."))] == []
    classes = [node.name for _, node in nodes(ast.ClassDef)]
    assert [name for name in classes if name.endswith(("Manager", "Base")) or name.startswith("Base")] == []


def test_no_error_is_swallowed_whole():
    swallowed = []
    for name, node in nodes(ast.ExceptHandler):
        broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
        if broad and all(isinstance(statement, ast.Pass) for statement in node.body):
            swallowed.append(f"{name}:{node.lineno} passes over every error")
    assert swallowed == []


def nodes(kind: type[Node]) -> Iterator[tuple[str, Node]]:
    """All nodes of a kind, each with the module that it is in."""
    for name, module in HOUSE.modules.items():
        for node in ast.walk(module.tree):
            if isinstance(node, kind):
                yield name, node


# ---------------------------------------------------------------- the measure measures


@pytest.fixture
def built(tmp_path: Path):
    """Builds a house of the given files, each a name and its text."""

    def build(**files: str) -> House:
        shutil.rmtree(tmp_path / "labray", ignore_errors=True)
        for name, text in files.items():
            path = tmp_path / "labray" / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return House(tmp_path)

    return build


def test_an_import_for_type_checking_closes_a_circle(built):
    one = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from labray.node import two\n"
    house = built(node__one=one, node__two="from labray.node.one import One\n")
    assert house.circles() == [["labray.node.one", "labray.node.two"]]


def test_the_use_of_an_attribute_is_a_reach(built):
    node = "from labray.node.pool import Pool\nclass Node:\n    def __init__(self):\n        self.pool = Pool()\n"
    part = (
        "from labray.node.node import Node\nclass Part:\n"
        "    def __init__(self, node: Node):\n        self.node = node\n"
        "    def go(self):\n        self.node.pool.free()\n"
    )
    house = built(node__node=node, node__pool="class Pool:\n    pass\n", node__part=part)
    assert house.siblings("labray.node.part") == {"labray.node.node", "labray.node.pool"}


def test_a_wing_that_reaches_a_higher_one_points_up(built):
    house = built(
        node__store__room="from labray.node.tasks import table\n",
        node__tasks__table="from labray.node.store import room\n",
        node__tasks__other="import_module('experiments.micro')\n",
        cli="from papers import eight_schedulers\n",
    )
    assert house.upward() == [
        "labray.cli -> experiments",
        "labray.node.store.room -> labray.node.tasks.table",
        "labray.node.tasks.other -> experiments",
    ]


def test_what_a_class_must_have_is_not_counted_as_a_name_used_often(built):
    interface = "from typing import Protocol\nclass Port(Protocol):\n    def close(self): ...\n"
    obeying = "".join(f"class P{at}:\n    def close(self): ...\n    def lost(self): ...\n" for at in range(7))
    assert built(port=interface, ports=obeying).methods_often() == ["lost (7)"]


def test_files_of_one_name_are_two_rooms_unless_worlds_mirror_each_other(built):
    house = built(backends__sim__store="", backends__cluster__store="", node__names="", ids__names="")
    assert house.modules_twice() == ["names: labray.ids.names, labray.node.names"]


@pytest.mark.parametrize(
    "text",
    [
        'x.backend == "sim"',
        '"inline" != x',
        'x in ("cluster", "y")',
        'match x:\n    case "sim":\n        pass',
    ],
)
def test_a_comparison_with_a_world_is_found_however_it_is_written(built, text):
    assert len(built(cli=f"{text}\n").world_comparisons()) == 1
    assert not built(cli='init("sim"); x == "other"\n', backends__one=f"{text}\n").world_comparisons()


def test_a_line_broken_around_one_word_is_found(built):
    house = built(loop="def go():\n    while (\n        True\n    ):\n        pass\n")
    assert house.horrors() == ["labray.loop (line 2)"]
