"""What prose names is there: files, modules and pages, in the docs and in what the code says of itself."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import labray
from tests.kit.paths import ROOT

PAGES = [
    page for place in ("*.md", "docs/*.md", "papers/**/*.md", "constraints/*.md") for page in ROOT.glob(place)
]
HISTORY = ROOT / "CHANGELOG.md"
"""It tells of the past as well, so what it names may be gone."""
MODULES = [
    path for top in ("labray", "experiments", "papers", "tests") for path in (ROOT / top).rglob("*.py")
]
FILES = [path.relative_to(ROOT).parts for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
PATHS = {"/".join(parts[start:]) for parts in FILES for start in range(len(parts))}
"""Every file, by its path and by each end of it: prose says `pool.py` and `workers/pool.py`."""
EXAMPLES = {"json.py", "power_of_two.py", "sitecustomize.py", "test_ledger.py", "labray.demand"}
"""Names that examples give, that other formats use, or that Python has."""

A_PATH = re.compile(r"(?<![\w/.{-])((?:[a-z_]+/)*[a-z_]+\.py)\b(?!\w)")
A_FOLDER = re.compile(r"(?<![\w/.{~-])((?:labray|tests|experiments|papers)/(?:[a-z_]+/)*)(?![\w.{*<])")
A_MODULE = re.compile(r"(?<![\w/.{-])(labray(?:\.[A-Za-z_]\w*)+)(?![\w{])")
A_MEMBER = re.compile(r"`([A-Z][A-Za-z]+)\.([a-z_]\w*)")
A_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)")


def said(path: Path) -> Iterator[str]:
    """The docstrings and the comments of a module."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.value
    yield from (line.partition("#")[2] for line in text.splitlines() if line.lstrip().startswith("#"))


def members() -> dict[str, set[str]]:
    """What the classes of labray define: methods, fields and attributes, with those of the classes they build on."""
    found: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for path in (ROOT / "labray").rglob("*.py"):
        for made in ast.walk(ast.parse(path.read_text())):
            if isinstance(made, ast.ClassDef):
                own = found.setdefault(made.name, set())
                own |= {node.name for node in made.body if isinstance(node, ast.FunctionDef)}
                own |= {target.id for target in assigned(made) if isinstance(target, ast.Name)}
                own |= {target.attr for target in assigned(made) if isinstance(target, ast.Attribute)}
                bases.setdefault(made.name, set()).update(
                    ast.unparse(base).split(".")[-1] for base in made.bases
                )
    for name in bases:
        ancestors = [name]
        for each in ancestors:
            found[name] |= found.get(each, set())
            ancestors += [base for base in bases.get(each, ()) if base not in ancestors]
    return found


def assigned(made: ast.ClassDef) -> Iterator[ast.expr]:
    for node in ast.walk(made):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from target.elts if isinstance(target, ast.Tuple) else (target,)
        elif isinstance(node, ast.AnnAssign):
            yield node.target


MEMBERS = members()


def is_there(dotted: str) -> bool:
    """Whether a dotted name of labray is a module, or an attribute that one has."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def lost(text: str) -> list[str]:
    """The files, folders and modules that a text names, and that are not there."""
    gone = set(A_PATH.findall(text)) - PATHS
    gone |= {folder for folder in A_FOLDER.findall(text) if not (ROOT / folder).is_dir()}
    gone |= {module for module in A_MODULE.findall(text) if not is_there(module)}
    gone |= {
        f"{owner}.{name}" for owner, name in A_MEMBER.findall(text) if name not in MEMBERS.get(owner, {name})
    }
    return sorted(gone - EXAMPLES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_and_links_what_is_there(page: Path) -> None:
    text = page.read_text()
    dead = [to for to in A_LINK.findall(text) if "://" not in to and not (page.parent / to).exists()]
    assert not dead, f"{page.name} links {dead}"
    assert page == HISTORY or not lost(text), f"{page.name} names {lost(text)}"


def test_what_modules_say_of_others_is_there() -> None:
    names = {str(path.relative_to(ROOT)): lost("\n".join(said(path))) for path in MODULES}
    assert not (gone := {path: names for path, names in names.items() if names}), gone


def test_each_fault_of_the_page_has_the_test_that_it_names() -> None:
    tests = " ".join(
        re.findall(r"def test_(\w+)", "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py")))
    )
    rows = [line for line in (ROOT / "docs" / "faults.md").read_text().splitlines() if line.startswith("| ")]
    named = [name for row in rows for name in re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)…?`", row.split("|")[-2])]
    assert len(named) > 100
    assert [name for name in named if name not in tests] == []


def test_a_name_that_is_gone_is_noticed() -> None:
    text = (
        "`labray/node/desk.py`, `sim/nothing.py`, labray.node.desk, labray/nowhere/ and `Node.hand` are gone"
    )
    assert lost(text) == [
        "Node.hand",
        "labray.node.desk",
        "labray/node/desk.py",
        "labray/nowhere/",
        "sim/nothing.py",
    ]
    assert (
        lost(
            "`labray/node/node.py`, `tasks/completion.py`, labray.node.node.Node, labray/node/, `Node.handle`"
        )
        == []
    )
    assert labray.__name__ == "labray"
