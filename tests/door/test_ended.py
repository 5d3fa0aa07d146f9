"""After a session: what needs it says so and starts no other, in finalizers and at the end of the program too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import labray as ray
from labray.errors import ActorHandleNotFoundError, NotInitializedError
from tests.kit.paths import ROOT


@ray.remote
class A:
    def f(self) -> int:
        return 1


@ray.remote
def same(x: Any) -> Any:
    return x


CALLS: dict[str, tuple[Callable[[Any, Any, Any], Any], type[Exception]]] = {
    "a call": (lambda actor, method, ref: actor.f.remote(), ActorHandleNotFoundError),
    "a kept method": (lambda actor, method, ref: method.remote(), ActorHandleNotFoundError),
    "kill": (lambda actor, method, ref: ray.kill(actor), ActorHandleNotFoundError),
    "get": (lambda actor, method, ref: ray.get(ref), ValueError),
    "get of a list": (lambda actor, method, ref: ray.get([ref]), ValueError),
    "wait": (lambda actor, method, ref: ray.wait([ref]), ValueError),
    "cancel": (lambda actor, method, ref: ray.cancel(ref), ValueError),
    "a task of it": (lambda actor, method, ref: same.remote(ref), ValueError),
    "a task of the actor": (lambda actor, method, ref: same.remote(x=actor), ActorHandleNotFoundError),
    "an actor of it": (lambda actor, method, ref: A.remote(ref), ValueError),
    "put of the actor": (lambda actor, method, ref: ray.put(actor), ActorHandleNotFoundError),
}


@pytest.mark.parametrize("backend", ["inline", "sim", "cluster"])
def test_what_is_of_an_ended_session_says_so_and_starts_none(backend: str) -> None:
    ray.init(backend, num_cpus=1)
    actor, ref = A.remote(), same.remote(1)
    assert ray.get([actor.f.remote(), ref]) == [1, 1]
    method = actor.f
    ray.shutdown()
    for name, (call, error) in CALLS.items():
        with pytest.raises(error, match="of a session that was shut down"):
            call(actor, method, ref)
        assert not ray.is_initialized(), name


def test_a_ref_of_an_ended_session_is_not_taken_for_one_with_the_same_id() -> None:
    """In a list behind that one, it was: get gave the new value twice."""
    ray.init("inline")
    old = same.remote("old")
    ray.shutdown()
    ray.init("inline")
    new = same.remote("new")
    assert new == old
    with pytest.raises(ValueError, match="of a session that was shut down"):
        ray.get([new, old])
    assert ray.get([new, new]) == ["new", "new"]


def test_what_asks_for_nothing_starts_nothing() -> None:
    assert ray.get([]) == []
    with pytest.raises(ValueError, match="no living actor"):
        ray.get_actor("somebody")
    assert not ray.is_initialized()


def test_a_finalizer_starts_no_session() -> None:
    told = []

    class Owner:
        def __del__(self) -> None:
            try:
                ray.put(1)
            except NotInitializedError as error:
                told.append(str(error))

    Owner()
    assert told == ["There is no session, and none is started in a finalizer (__del__)."]
    assert not ray.is_initialized()


HEAD = """
import atexit, faulthandler, os, labray
faulthandler.dump_traceback_later(20, exit=True)
@labray.remote
class C:
    def f(self): return 1
"""

PROGRAMS = {
    "a cycle that owns an actor": """
class Owner:
    def __init__(self): self.actor, self.me = C.remote(), self
    def __del__(self):
        try: labray.kill(self.actor)
        except labray.exceptions.ActorHandleNotFoundError: print('told')
labray.init("cluster", num_cpus=1)
Owner()
""",
    "a finalizer of a module that puts": """
class Owner:
    def __del__(self, put=labray.put, ended=labray.exceptions.NotInitializedError, write=os.write):
        try: put(1)
        except ended: write(1, b'told\\n')
labray.init("cluster", num_cpus=1)
owner = Owner()
""",
    "what runs at exit, after the session": """
def late():
    try: labray.now()
    except labray.exceptions.NotInitializedError: print('told')
atexit.register(late)
labray.init("cluster", num_cpus=1)
""",
    "a session that is begun at exit": """
def late():
    labray.init("cluster", num_cpus=1)
    print('told')
atexit.register(late)
""",
}


@pytest.mark.processes
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_end_of_a_program_starts_nothing_and_leaves_nothing(program: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", HEAD + PROGRAMS[program]],
        capture_output=True,
        text=True,
        timeout=40,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        cwd=ROOT,
    )
    assert (run.returncode, run.stdout) == (0, "told\n"), run.stderr
    assert list(tmp_path.iterdir()) == []
