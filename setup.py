"""Compiles what every task goes through to native code, if asked to: LABRAY_COMPILE=1. docs/compiled.md says why.

Unasked it adds nothing to pyproject.toml: labray needs no compiler. The extensions go to labray/_compiled, away from
the sources, with a note of which sources they were made of; labray/native.py decides at import whether they serve.
"""

import ast
import hashlib
import json
import os
import shlex
import shutil
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
SHARED = "labray__mypyc"
HOT = (
    "labray/client/execution.py",
    "labray/ids.py",
    "labray/client/process.py",
    "labray/client/requests.py",
    "labray/node/**/*.py",
    "labray/scheduling/*.py",
    "labray/schedulers/**/*.py",
    "labray/backends/sim/**/*.py",
    "labray/backends/cluster/daemon/worker_links.py",
    "labray/backends/cluster/daemon/daemon.py",
    "labray/backends/cluster/daemon/driver_link.py",
    "labray/backends/cluster/daemon/event_loop.py",
    "labray/backends/cluster/daemon/peer_sockets.py",
)
"""What is compiled: where figures said that it gains (docs/compiled.md)."""
NOT = {
    "labray/schedulers/parts/batching.py": "policies that are not compiled inherit from it",
    "labray/backends/sim/clock/event_queue.py": "its moments are SimPy's events",
    "labray/backends/sim/clients/body_executor.py": "an exception and an executor: users' frames are counted there",
    "labray/backends/sim/clock/randomness.py": "patches the random modules",
    "labray/backends/sim/clock/virtual_clock.py": "patches the time module",
    "labray/backends/sim/clock/process_identity.py": "patches the os module",
    "labray/backends/sim/clock/patches.py": "makes functions that stand for others",
    "labray/backends/sim/clock/virtual_waits.py": "patches the threading module",
    "labray/backends/sim/clock/watchdog.py": "a thread that looks at frames",
}
"""What is not, and why."""


def modules() -> list[str]:
    """Paths of what is compiled: no packages' own files, which only name what is in them, and no values."""
    found = sorted({path for pattern in HOT for path in ROOT.glob(pattern) if path.name != "__init__.py"})
    named = [path.relative_to(ROOT).as_posix() for path in found if not has_values(path)]
    return [name for name in named if name not in NOT]


def has_values(path: Path) -> bool:
    """Whether it defines classes with keywords (frozen=True): those are msgspec's to make, and mypyc drops keywords."""
    return any(
        isinstance(node, ast.ClassDef) and node.keywords for node in ast.walk(ast.parse(path.read_text()))
    )


def lacking() -> str:
    """What this machine lacks to compile; empty if nothing."""
    header = Path(sysconfig.get_path("include"), "Python.h")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return (
            f"a C compiler: there is no {compiler!r}. Install one (Debian: apt-get install gcc), or set CC."
        )
    if not header.exists():
        return f"Python's headers: there is no {header}. Install them (Debian: apt-get install python3-dev)."
    try:
        import mypyc.build  # noqa: F401
    except ImportError:
        return "mypyc, which comes with mypy: python -m pip install 'mypy[mypyc]'."
    return ""


def extensions() -> list[Extension]:
    """One with all the code, and a small one a module that names it."""
    if lack := lacking():
        sys.exit(f"labray cannot be compiled here for want of {lack} It runs as well without, only slower.")
    from mypyc.build import mypycify

    os.chdir(ROOT)
    made = mypycify(["--config-file", "pyproject.toml", *modules()], opt_level="3", group_name="labray")
    for extension in made:
        extension.name = f"labray._compiled.{extension.name.replace('.', '-')}"
        # a * b + c in one step rounds once: another number, and another trace (gcc's default on ARM)
        extension.extra_compile_args += ["-ffp-contract=off"]
    return made


def note() -> dict[str, object]:
    """What labray/native.py is told: the modules, for which Python, and what every source was."""
    sources = {}
    for path in sorted((ROOT / "labray").rglob("*.py")):
        found, digest = path.stat(), hashlib.sha256(path.read_bytes()).hexdigest()
        sources[path.relative_to(ROOT / "labray").as_posix()] = (found.st_size, found.st_mtime_ns, digest)
    names = [path.removesuffix(".py").replace("/", ".") for path in modules()]
    return {"suffix": EXTENSION_SUFFIXES[0], "modules": [SHARED, *names], "sources": sources}


class Noted(build_ext):
    """Leaves a note of what they were made of, when all are there."""

    def run(self) -> None:
        target = Path(ROOT if self.inplace else self.build_lib, "labray", "_compiled")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        super().run()
        (target / "made_of.json").write_text(json.dumps(NOTED))


if os.environ.get("LABRAY_COMPILE", "") in ("", "0"):
    setup()
elif "egg_info" in sys.argv:  # pip asks what it takes to build, before that is there
    setup(setup_requires=["mypy[mypyc]>=1.18"])
else:
    NOTED = note()  # before: somebody may edit while the compiler runs
    setup(ext_modules=extensions(), cmdclass={"build_ext": Noted})
