"""The house: imports go down by floor, floors 0 to 2 are pure, and rooms stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.kit.paths import ROOT

PACKAGE = ROOT / "labray"

FLOORS: dict[str, int] = {
    # 0 words: values everyone shares
    "ids": 0,
    "messages": 0,
    "errors": 0,
    "options": 0,
    "codec": 0,
    "by_value": 0,
    "identities": 0,
    "anatomy": 0,
    "causes": 0,
    "telling": 0,
    "buffers": 0,
    "refs": 0,
    "steps": 0,
    "signature": 0,
    "unpicklable": 0,
    "trace": 0,
    "trace_schema": 0,
    "costs": 0,
    "profiles": 0,
    "shipped": 0,
    "faults": 0,
    "holdings": 0,
    # 1 body: the state machines, and the graph
    "node": 1,
    "graphs": 1,
    # 2 minds: they share their words (the interface) with the body that judges them
    "schedulers": 2,
    # 3 worlds
    "backends": 3,
    # 4 door: the client half and the public names, which know only Port
    "port": 4,
    "process": 4,
    "deliveries": 4,
    "questions": 4,
    "executor": 4,
    "config": 4,
    "functions": 4,
    "renewals": 4,
    "actors": 4,
    "session": 4,
    "testing": 4,
    "probe": 4,
    "replaying": 4,
    "api": 4,
    "cli": 4,
    "cluster_utils": 4,
    "fuzz": 4,
    "native": 4,
    "__init__": 4,
    "__main__": 4,
}

DOWN_FROM_ELSEWHERE = {
    # The interface is the minds' words: the node speaks it, and names no policy.
    ("node", "schedulers.interface"),
    # A world gives the client half of the protocol a channel, and starts what the session asks for.
    ("backends", "port"),
    ("backends", "refs"),
    ("backends", "process"),
    ("backends", "executor"),
    ("backends", "config"),
    # The door to the room below: the only module that names backends.
    ("session", "backends"),
}

IMPURE = {"time", "random", "threading", "socket", "asyncio", "os", "zmq", "simpy", "multiprocessing"}

LONG_FILES: dict[str, str] = {
    # file: why it may have more than 300 lines (never more than 400, except the words)
    "labray/node/node.py": "it opens the mail: every part of a node has a file, and this one names them all",
    "labray/backends/sim/workers.py": "a simulated worker is one state machine, and its states share all its fields",
    "labray/messages.py": "all words in one place is the point; a list of values, no logic",
}
LONG_FUNCTIONS: dict[str, str] = {
    # file:function: why it may have more than 40 lines (never more than 60)
}
SOFT_FILE, HARD_FILE, SOFT_FUNCTION, HARD_FUNCTION = 300, 400, 40, 60


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    """`node.custody` for labray/node/custody.py, and `node` for its __init__."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> Iterator[str]:
    """What a module imports at run time, wherever in it: not what stands under `if TYPE_CHECKING`."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) in (
                "TYPE_CHECKING",
                "typing.TYPE_CHECKING",
            ):
                for other in child.orelse:
                    yield from (other, *walk(other))
                continue
            yield child
            yield from walk(child)

    for node in walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inner_imports(path: Path) -> Iterator[str]:
    """The modules of labray that a module imports, without the prefix."""
    known = {dotted(module) for module in modules()}
    for name in imports(path):
        if name.startswith("labray."):
            inner = name.removeprefix("labray.")
            if inner in known:
                yield inner


def room(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_go_down(path):
    here = dotted(path)
    assert room(here) in FLOORS, f"{here} has no floor yet: give it one in tests/repository/test_house.py"
    for there in inner_imports(path):
        down = FLOORS[room(there)] <= FLOORS[room(here)]
        allowed = {(room(here), there), (room(here), room(there))} & DOWN_FROM_ELSEWHERE
        assert down or allowed, f"{here} (floor {FLOORS[room(here)]}) imports {there} from above"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_only_the_session_names_backends(path):
    here = dotted(path)
    if FLOORS.get(room(here)) == 4 and here != "session":
        assert not [there for there in inner_imports(path) if room(there) == "backends"]


@pytest.mark.parametrize("path", [p for p in modules() if FLOORS.get(room(dotted(p)), 9) <= 2], ids=dotted)
def test_the_lower_floors_have_no_clock_random_thread_or_wire(path):
    found = {name.partition(".")[0] for name in imports(path)} & IMPURE
    assert not found, f"{dotted(path)} imports {', '.join(sorted(found))}"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_files_and_functions_stay_small(path):
    name = str(path.relative_to(ROOT))
    lines = len(path.read_text().splitlines())
    assert lines <= SOFT_FILE or name in LONG_FILES, f"{name} has {lines} lines"
    assert lines <= HARD_FILE or name == "labray/messages.py", f"{name} has {lines} lines"
    for function, length in functions(path):
        label = f"{name}:{function}"
        assert length <= SOFT_FUNCTION or label in LONG_FUNCTIONS, f"{label} has {length} lines"
        assert length <= HARD_FUNCTION, f"{label} has {length} lines"


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            yield node.name, node.end_lineno - node.lineno + 1


def test_every_exception_is_still_needed():
    for name in LONG_FILES:
        assert len((ROOT / name).read_text().splitlines()) > SOFT_FILE, (
            f"{name} is short again: take it off the list"
        )
    for label in LONG_FUNCTIONS:
        name, _, function = label.partition(":")
        assert dict(functions(ROOT / name)).get(function, 0) > SOFT_FUNCTION, f"{label} is short again"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_no_room_is_named_after_nothing(path):
    empty = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not empty & set(path.with_suffix("").parts[-2:])
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith(("Manager", "Base")) and not node.name.startswith("Base"), node.name


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_no_error_is_swallowed_whole(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            silent = all(isinstance(statement, ast.Pass) for statement in node.body)
            assert not (broad and silent), f"{dotted(path)}:{node.lineno} passes over every error"
