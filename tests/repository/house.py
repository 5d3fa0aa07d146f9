"""Measures the plan of the house: `python -m tests.repository.house` prints one figure a line.

`--list` prints what each figure counts. Everything is read with `ast`, nothing is imported, so it runs on any checkout:
`--tree DIR` measures another one, and two checkouts can be compared line by line. test_house.py holds the budgets that
these figures must keep.

A *reach* from one file to another is an import (also one for type checking alone) or the use of an attribute of a
class that the other file defines, as in `self.node.pool.free(...)`: the types of attributes are read off constructors.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent.parent
MOST_FUNCTION_LINES = 40
THINK_AT_LINES = 400
MOST_METHODS = 25
MOST_SIBLINGS = 6
MOST_FILES = 12
FRAGMENT_LINES = 40
MOST_CLASSES_OF_A_METHOD = 6
WORLDS = ("inline", "cluster", "sim", "ray", "dask")
"""Files that mirror each other in these folders of `backends` may share a name."""

FLOORS = {
    # 0 words: values that everyone shares, and what is read off them
    "labray": 0,
    # 1 body: the state machine of a node, and task graphs
    "labray.graphs": 1,
    "labray.node": 1,
    # 2 minds: the policies; their seam, `labray.scheduling`, is on the ground
    "labray.schedulers": 2,
    # 3 the client half of a session: it knows only the port to its world
    "labray.client": 3,
    "labray.serialization": 3,
    "labray.serialization.buffers": 3,
    "labray.serialization.by_value": 3,
    "labray.serialization.exceptions": 3,
    "labray.serialization.codec": 3,
    "labray.config": 3,
    "labray.client.executor": 3,
    "labray.serialization.identities": 3,
    "labray.client.options": 3,
    "labray.client.runtime": 3,
    "labray.client.process": 3,
    "labray.client.requests": 3,
    "labray.client.refs": 3,
    "labray.client.uninterrupted": 3,
    "labray.serialization.unpicklable": 3,
    # 4 worlds
    "labray.backends": 4,
    # 5 door: the public names, and the tools that run sessions or open files
    "labray.__init__": 5,
    "labray.__main__": 5,
    "labray.client.actors": 5,
    "labray.api": 5,
    "labray.calibration": 5,
    "labray.comparison": 5,
    "labray.cli": 5,
    "labray.cluster_utils": 5,
    "labray.files": 5,
    "labray.client.functions": 5,
    "labray.files.task_graphs": 5,
    "labray.fuzz": 5,
    "labray.native": 5,
    "labray.client.code_changes": 5,
    "labray.replaying": 5,
    "labray.session": 5,
    "labray.testing": 5,
    "labray.files.trace_schema": 5,
}
"""The floor of a module is that of the longest prefix of its name that stands here."""

ROOF = "experiments"
"""It stands on everything, and nothing in labray may name it; nor `papers` and `tests`, which stand beside it."""
NODE = "labray.node."
WINGS = (
    ("context",),
    ("objects", "store"),
    ("workers",),
    ("actors",),
    ("tasks",),
    ("failures",),
    ("wings",),
    ("inspect",),
)
"""The wings of a node from the ground up: each gets what is below it by name. Above all stands the node itself."""


class Module:
    """One file: what it defines, what it imports, and which other files it reaches."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.text = path.read_text()
        self.lines = len(self.text.splitlines())
        self.tree = ast.parse(self.text, str(path))
        self.is_package = path.stem == "__init__"

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]

    @cached_property
    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        return [
            node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    @cached_property
    def visible(self) -> set[str]:
        """What may name a class of the house here: its own classes, and what it imports from the house."""
        own = {found.name for found in self.classes}
        return own | {inner or name for name, inner, _ in self.imported if name.partition(".")[0] == "labray"}

    @cached_property
    def imported(self) -> list[tuple[str, str, bool]]:
        """(module, name in it or "", whether for type checking alone) of each import, wherever it stands."""
        found: list[tuple[str, str, bool]] = []
        for node, checking in _with_checking(self.tree, False):
            if isinstance(node, ast.Import):
                found += [(alias.name, "", checking) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found += [(node.module or "", alias.name, checking) for alias in node.names]
        return found


def _with_checking(node: ast.AST, checking: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for part, is_checking in ((child.body, True), (child.orelse, checking)):
                for statement in part:
                    yield statement, is_checking
                    yield from _with_checking(statement, is_checking)
            continue
        yield child, checking
        yield from _with_checking(child, checking)


class House:
    """All files of one top-level package."""

    def __init__(self, root: Path, package: str = "labray") -> None:
        self.root = root
        self.modules: dict[str, Module] = {}
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self.modules[name] = Module(path, name)

    # ------------------------------------------------------------ imports

    def imports(self, module: Module, checking: bool = True) -> set[str]:
        """The modules of the house that one imports. checking: those under `if TYPE_CHECKING` too."""
        found = set()
        for name, inner, for_types in module.imported:
            if for_types and not checking:
                continue
            whole = f"{name}.{inner}"
            found.add(whole if whole in self.modules else name)
        return (found & self.modules.keys()) - {module.name}

    @cached_property
    def importers(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for name, module in self.modules.items():
            for other in self.imports(module):
                found[other].append(name)
        return found

    def circles(self) -> list[list[str]]:
        """Groups of modules that all import each other, directly or not, type checking included."""
        edges = {name: sorted(self.imports(module)) for name, module in self.modules.items()}
        return sorted(group for group in _components(edges) if len(group) > 1)

    # ------------------------------------------------------------ reaches

    @cached_property
    def _homes(self) -> dict[str, str]:
        """The module of each class whose name stands for one class alone."""
        homes = defaultdict(list)
        for name, module in self.modules.items():
            for found in module.classes:
                homes[found.name].append(name)
        return {name: where[0] for name, where in homes.items() if len(where) == 1}

    @cached_property
    def _fields(self) -> dict[str, dict[str, str]]:
        """Of each class: its attributes whose class is known from its body or its constructor."""
        return {
            found.name: dict(_fields(found, self._homes, module.visible))
            for module in self.modules.values()
            for found in module.classes
            if self._homes.get(found.name) == module.name
        }

    def uses(self, module: Module) -> Counter[str]:
        """How often a module uses an attribute of a class of another one, by that module's name."""
        found: Counter[str] = Counter()
        for owner in module.classes:
            for node in ast.walk(owner):
                if isinstance(node, ast.Attribute):
                    home = self._homes.get(self._kind(node.value, owner.name) or "")
                    if home is not None and home != module.name:
                        found[home] += 1
        return found

    def _kind(self, node: ast.expr, owner: str) -> str | None:
        if isinstance(node, ast.Name):
            return owner if node.id == "self" else None
        if isinstance(node, ast.Attribute):
            return self._fields.get(self._kind(node.value, owner) or "", {}).get(node.attr)
        return None

    @cached_property
    def reaches(self) -> dict[str, set[str]]:
        """The modules that each one reaches, by an import or by the attribute of a class."""
        return {name: self.imports(m) | set(self.uses(m)) for name, m in self.modules.items()}

    def siblings(self, name: str) -> set[str]:
        """Those of its own package that a module reaches. A package's `__init__` may name them all."""
        module = self.modules[name]
        if module.is_package:
            return set()
        return {
            other
            for other in self.reaches[name]
            if not self.modules[other].is_package and self.modules[other].package == module.package
        }

    # ------------------------------------------------------------ floors

    def floor_of(self, name: str) -> float:
        """The floor of a module; what is above it has a higher number."""
        if name in (ROOF, "labray"):
            return 9 if name == ROOF else FLOORS["labray.__init__"]
        if f"{name}.".startswith(NODE):
            return 1 + self._wing_of(name) / 10
        parts = name.split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next(FLOORS[prefix] for prefix in prefixes if prefix in FLOORS)

    def _wing_of(self, name: str) -> int:
        wing, _, inner = name.removeprefix(NODE).partition(".")
        if inner or wing in ("context", "wings") or self.modules[name].is_package:
            for step, names in enumerate(WINGS, 1):
                if wing in names:
                    return step
        return len(WINGS) + 1

    # ------------------------------------------------------------ what is counted

    def fragments(self) -> list[str]:
        """Not those that only the package's own `__init__` names: they are one of several of a kind."""
        return [
            f"{name} ({module.lines} lines, for {importers[0]})"
            for name, module in self.modules.items()
            if module.lines < FRAGMENT_LINES and not module.is_package
            if len(importers := self.importers[name]) == 1 and not self.modules[importers[0]].is_package
        ]

    def across(self) -> list[str]:
        """Reaches from one package to another."""
        return [
            f"{here} -> {there}"
            for here, others in self.reaches.items()
            for there in sorted(others)
            if self.modules[here].package != self.modules[there].package
        ]

    def upward(self) -> list[str]:
        """Reaches from a lower floor to a higher one, also within a package of which only a part is on its floor."""
        return [
            f"{here} -> {there}"
            for here, others in self.reaches.items()
            for there in sorted(others | self.named(here))
            if self.floor_of(there) > self.floor_of(here)
        ]

    def named(self, name: str) -> set[str]:
        """The modules that a file names in a string, as for `import_module`, and the roof if it names any of it."""
        imported = {other.partition(".")[0] for other, _, _ in self.modules[name].imported}
        found = {ROOF} if imported & {ROOF, "papers", "tests"} else set()
        for node in ast.walk(self.modules[name].tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
                found.add(ROOF if node.value.startswith(f"{ROOF}.") else node.value)
        return found & {*self.modules, ROOF} - {"labray"}

    def uses_of_siblings(self) -> int:
        return sum(
            count
            for module in self.modules.values()
            for other, count in self.uses(module).items()
            if self.modules[other].package == module.package
        )

    def both_ways(self) -> list[str]:
        return [
            f"{here} <-> {there}"
            for here, others in self.reaches.items()
            for there in sorted(others)
            if here < there and here in self.reaches[there]
        ]

    def wide_files(self) -> list[str]:
        wide = {name: self.siblings(name) for name in self.modules}
        return [f"{name} ({len(them)})" for name, them in wide.items() if len(them) > MOST_SIBLINGS]

    def wide_packages(self) -> list[str]:
        files = Counter(module.package for module in self.modules.values() if not module.is_package)
        return [f"{name} ({count})" for name, count in sorted(files.items()) if count > MOST_FILES]

    def wide_classes(self) -> list[str]:
        return [
            f"{name}.{found.name} ({len(_methods(found))})"
            for name, module in self.modules.items()
            for found in module.classes
            if len(_methods(found)) > MOST_METHODS
        ]

    def long_functions(self) -> list[str]:
        return [
            f"{name}.{found.name} ({lines})"
            for name, module in self.modules.items()
            for found in module.functions
            if (lines := (found.end_lineno or 0) - found.lineno + 1) > MOST_FUNCTION_LINES
        ]

    def long_files(self) -> list[str]:
        return [
            f"{name} ({module.lines})"
            for name, module in self.modules.items()
            if module.lines > THINK_AT_LINES
        ]

    def classes_twice(self) -> list[str]:
        return _twice((found.name, name) for name, module in self.modules.items() for found in module.classes)

    def modules_twice(self) -> list[str]:
        """Without `__init__`, `__main__` and files that mirror each other in worlds."""
        where = defaultdict(list)
        for name, module in self.modules.items():
            if not module.is_package and module.path.stem != "__main__":
                where[module.path.stem].append(name)
        return [
            f"{stem}: {', '.join(names)}"
            for stem, names in sorted(where.items())
            if len(names) > 1 and len({_world(name) for name in names} - {""}) < len(names)
        ]

    def methods_often(self) -> list[str]:
        """Names of methods in more than six classes that share no interface which declares them."""
        classes = [found for module in self.modules.values() for found in module.classes]
        by_name = {found.name: found for found in classes}
        interfaces = [found for found in classes if _is_interface(found)]
        count: Counter[str] = Counter()
        for found in classes:
            if not _is_interface(found):
                taken = _obeyed(found, by_name, interfaces)
                count.update(name for name in _methods(found) if name not in taken and name[:2] != "__")
        often = [(number, name) for name, number in count.items() if number > MOST_CLASSES_OF_A_METHOD]
        return [f"{name} ({number})" for number, name in sorted(often, key=lambda pair: (-pair[0], pair[1]))]

    def horrors(self) -> list[str]:
        """Lines that a formatter broke around a single word, as `while (\\n True\\n):`."""
        pattern = re.compile(r"^[^#\n]*[\s=(]\(\n\s*[\w.+-]+ *(?:#[^\n]*)?\n\s*\)", re.MULTILINE)
        return [
            f"{name} (line {module.text.count(chr(10), 0, match.start()) + 1})"
            for name, module in self.modules.items()
            for match in pattern.finditer(module.text)
        ]

    def world_comparisons(self) -> list[str]:
        """Where code that is not in `backends` asks which world it is in, and not what the world can do."""
        return [
            f"{name}: {ast.unparse(node)}"
            for name, module in self.modules.items()
            if not name.startswith("labray.backends")
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Compare | ast.MatchValue) and _names_world(node)
        ]

    def rooms_missing(self) -> list[str]:
        """Rooms that the glossary names, with an extension or a slash at the end, and that are not there."""
        page = self.root / "docs" / "glossary.md"
        text = page.read_text() if page.exists() else ""
        named = re.findall(r"`([a-z_/]+(?:/|\.py))`", text[text.find("## Terms") :])
        return sorted({name for name in named if not (self.root / "labray" / name).exists()})

    def figures(self) -> dict[str, int | float | str | list[str]]:
        """All of them: a list stands for its length."""
        lines = {name: module.lines for name, module in self.modules.items() if not module.is_package}
        largest = max(lines, key=lines.__getitem__)
        return {
            "files (without __init__)": len(lines),
            "lines": sum(module.lines for module in self.modules.values()),
            "median file, lines": median(lines.values()),
            "largest file": f"{largest} ({lines[largest]} lines)",
            f"files over {THINK_AT_LINES} lines": self.long_files(),
            f"files under {FRAGMENT_LINES} lines for one other file": self.fragments(),
            "reaches across packages": self.across(),
            "reaches that point up a floor": self.upward(),
            "uses of a sibling's attributes": self.uses_of_siblings(),
            "pairs of files that reach both ways": self.both_ways(),
            "import circles, type checking included": [
                f"{group[0]} and {len(group) - 1} others ({' '.join(group)})" for group in self.circles()
            ],
            "class names used twice": self.classes_twice(),
            "module names used twice": self.modules_twice(),
            f"method names in more than {MOST_CLASSES_OF_A_METHOD} classes": self.methods_often(),
            f"classes over {MOST_METHODS} methods": self.wide_classes(),
            f"files that reach over {MOST_SIBLINGS} siblings": self.wide_files(),
            f"packages over {MOST_FILES} files": self.wide_packages(),
            f"functions over {MOST_FUNCTION_LINES} lines": self.long_functions(),
            "lines broken around one word": self.horrors(),
            "comparisons with a world's name": self.world_comparisons(),
            "rooms of the glossary that are not there": self.rooms_missing(),
        }


# ---------------------------------------------------------------- reading classes


def _methods(found: ast.ClassDef) -> list[str]:
    """Names of its methods, each once: a property and its setter are one."""
    names = [node.name for node in found.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return list(dict.fromkeys(names))


def _base_names(found: ast.ClassDef) -> list[str]:
    plain = (base.value if isinstance(base, ast.Subscript) else base for base in found.bases)
    return [ast.unparse(base).rpartition(".")[2] for base in plain]


def _is_interface(found: ast.ClassDef) -> bool:
    return bool({"Protocol", "ABC"} & set(_base_names(found)))


def _obeyed(
    found: ast.ClassDef, by_name: dict[str, ast.ClassDef], interfaces: list[ast.ClassDef]
) -> set[str]:
    """Methods that a class has because it must: a base class of the house, or an interface, declares them."""
    taken: set[str] = set()
    above = _base_names(found)
    own = set(_methods(found))
    while above:
        base = by_name.get(above.pop())
        if base is not None and base is not found:
            taken |= set(_methods(base))
            own |= set(_methods(base))
            above += _base_names(base)
    for interface in interfaces:
        declared = set(_methods(interface))
        if declared and declared <= own:
            taken |= declared
    return taken


def _fields(found: ast.ClassDef, homes: dict[str, str], visible: set[str]) -> Iterator[tuple[str, str]]:
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, _named(node.annotation, visible)
    for method in found.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            arguments = [*method.args.args, *method.args.kwonlyargs]
            taken = {arg.arg: _named(arg.annotation, visible) for arg in arguments}
            for node in ast.walk(method):
                yield from _assigned(node, taken, homes, visible)


def _assigned(
    node: ast.AST, taken: dict[str, str], homes: dict[str, str], visible: set[str]
) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Assign):
        targets, value, kind = node.targets, node.value, ""
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets, value, kind = [node.target], node.value, _named(node.annotation, visible)
    else:
        return
    if kind not in homes and isinstance(value, ast.Call):
        kind = _named(value.func, visible)
    elif kind not in homes and isinstance(value, ast.Name):
        kind = taken.get(value.id, "")
    for target in targets:
        if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self" and kind in homes:
            yield target.attr, kind


def _named(node: ast.expr | None, visible: set[str]) -> str:
    """The class of the house that an annotation or a call names, if it is one alone (or None)."""
    if isinstance(node, ast.BinOp):
        parts = [part for part in (_named(node.left, visible), _named(node.right, visible)) if part]
        return parts[0] if len(parts) == 1 else ""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr if node.value.id in visible else ""
    name = (
        str(node.value) if isinstance(node, ast.Constant) else node.id if isinstance(node, ast.Name) else ""
    )
    return name if name in visible else ""


# ---------------------------------------------------------------- lists and graphs


def _names_world(node: ast.Compare | ast.MatchValue) -> bool:
    compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node.value]
    inside = [each for side in compared for each in ast.walk(side)]
    return any(
        isinstance(each, ast.Constant) and each.value in ("inline", "cluster", "sim") for each in inside
    )


def _world(name: str) -> str:
    """The world that a module of `labray.backends` belongs to."""
    parts = name.split(".")
    return parts[2] if len(parts) > 3 and parts[1] == "backends" and parts[2] in WORLDS else ""


def _twice(pairs: Iterable[tuple[str, str]]) -> list[str]:
    where = defaultdict(list)
    for name, module in pairs:
        where[name].append(module)
    return [f"{name}: {', '.join(them)}" for name, them in sorted(where.items()) if len(them) > 1]


def _components(edges: dict[str, list[str]]) -> list[list[str]]:
    """Strongly connected components (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        path.append(node)
        for other in edges[node]:
            if other not in index:
                visit(other)
            if other in path:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            at = path.index(node)
            found.append(sorted(path[at:]))
            del path[at:]

    for node in edges:
        if node not in index:
            visit(node)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tree", type=Path, default=ROOT, metavar="DIR", help="the checkout to measure")
    parser.add_argument("--list", action="store_true", help="also list what is counted")
    args = parser.parse_args()
    for what, figure in House(args.tree).figures().items():
        print(f"{what:45} {len(figure) if isinstance(figure, list) else figure}")
        if args.list and isinstance(figure, list):
            print(*(f"    {line}" for line in figure), sep="\n")


if __name__ == "__main__":
    main()
