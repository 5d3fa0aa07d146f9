"""What the main program defines means the same in every world: where its code stands, and what its names are."""

from __future__ import annotations

import inspect
import linecache
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import labray as ray

BACKENDS = ("cluster", "sim", "inline")

PRELUDE = """
import sys
import labray as ray

@ray.remote
def run(f, *args):
    return f(*args)

def told(f, *args):
    try:
        return ray.get(run.remote(f, *args))
    except Exception as error:
        return str(error)
"""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def printed(tmp_path: Path, program: str, *args: str) -> list[str]:
    """The lines that a script prints; its error fails the test."""
    script = tmp_path / "script.py"
    script.write_text(PRELUDE + program)
    done = subprocess.run(
        [sys.executable, str(script), *args], capture_output=True, text=True, timeout=50, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.processes
def test_a_remote_error_tells_file_line_and_text_and_source_can_be_asked_for(
    tmp_path: Path, backend: str
) -> None:
    program = """
import inspect
def helper(x):
    return 1 / x  # the culprit
@ray.remote
class Actor:
    def method(self, x):
        return helper(x)
ray.init(sys.argv[1], num_cpus=2)
for ref in (run.remote(helper, 0), Actor.remote().method.remote(0)):
    try:
        ray.get(ref)
    except ZeroDivisionError as error:
        print([line.strip() for line in str(error).splitlines() if "in helper" in line or "culprit" in line])
print(told(inspect.getsource, helper).splitlines()[-1].strip())
print(told(lambda: helper.__code__.co_filename))
"""
    lines = printed(tmp_path, program, backend)
    script = str(tmp_path / "script.py")
    number = (PRELUDE + program).splitlines().index("    return 1 / x  # the culprit") + 1
    wanted = [f'File "{script}", line {number}, in helper', "return 1 / x  # the culprit"]
    assert lines == [str(wanted), str(wanted), "return 1 / x  # the culprit", script]


@pytest.mark.processes
def test_what_pickle_would_name_in_the_main_program_travels_by_value(tmp_path: Path, backend: str) -> None:
    program = """
import functools, typing
@functools.cache
def load():
    return {"rate": 3}
@functools.lru_cache(maxsize=8)
def triple(x):
    return x * load()["rate"]
@functools.cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
class Model:
    @functools.lru_cache
    def value(self, x):
        return x + 1
UserId = typing.NewType("UserId", int)
class Missing:
    def __init__(self):
        self.why = "absent"
    def __reduce__(self):
        return "MISSING"
MISSING = Missing()
def default(x=MISSING):
    return (x is MISSING, MISSING.why)
def local():
    @functools.cache
    def inner(x):
        return x
    return inner
ray.init(sys.argv[1], num_cpus=2)
print(told(lambda: triple(2)), told(triple, 2), told(lambda: Model().value(5)), told(fib, 30), told(local(), 4))
print(told(lambda: (UserId(6), UserId.__name__, UserId.__supertype__.__name__)), told(triple.cache_parameters))
print(told(default), told(default, MISSING), told(default, 3), told(lambda: MISSING) is MISSING)
print(told(lambda: "a string with __main__ in it"), ray.get(ray.put("__main__")))
"""
    assert printed(tmp_path, program, backend) == [
        "6 6 6 832040 4",
        "(6, 'UserId', 'int') {'maxsize': 8, 'typed': False}",
        "(True, 'absent') (True, 'absent') (False, 'absent') True",
        "a string with __main__ in it __main__",
    ]


@pytest.mark.processes
def test_a_struct_of_the_main_program_keeps_fields_methods_options_and_identity(
    tmp_path: Path, backend: str
) -> None:
    program = """
import msgspec
class Base(msgspec.Struct, frozen=True, kw_only=True):
    z: int = 3
class Point(Base, frozen=True, order=True, tag="point", rename="camel"):
    x_of: int
    rest: list[int] = msgspec.field(default_factory=list)
    ORIGIN = 0
    def double(self):
        return Point(self.x_of * 2, self.rest, z=self.z + 1)
    def __post_init__(self):
        assert isinstance(self, Point)
def same(p):
    assert type(p) is Point and isinstance(p, Base)
    try:
        p.x_of = 5
    except AttributeError:
        return p.double()
def encoded():
    return msgspec.json.encode(Point(1)), msgspec.json.decode(msgspec.json.encode(Point(7)), type=Point).x_of
ray.init(sys.argv[1], num_cpus=2)
got = told(same, Point(2, [1]))
print(type(got) is Point, got, got > Point(1), told(encoded))
print(told(lambda: Point.ORIGIN))
"""
    assert printed(tmp_path, program, backend) == [
        'True Point(x_of=4, rest=[1], z=4) True (b\'{"type":"point","xOf":1,"rest":[],"z":3}\', 7)',
        "0",
    ]


POLICY = """
from __future__ import annotations
from collections import Counter
from typing import ClassVar
from msgspec import Struct
from labray.ids import NodeID
from labray.schedulers import Checked
from labray.scheduling import Forward, Keep, MessageReceived, TaskArrived, Tell
from labray.trace import runs

class Coming(Struct, frozen=True, tag=True, array_like=True):
    sender: NodeID
    number: int = 0
class Thanks(Struct, frozen=True, tag=True, array_like=True):
    sender: NodeID
class InTurn(Struct, frozen=True):
    step: int = 1
    words: ClassVar[tuple[type[Struct], ...]] = (Coming, Thanks)
    interest: ClassVar[tuple[type, ...]] = (MessageReceived,)
    def agent(self, place, cluster, view, rng):
        return Dealer(place, cluster.nodes, self.step)
class Dealer:
    def __init__(self, place, nodes, step):
        self.place, self.nodes, self.dealt, self.step = place, nodes, 0, step
    def handle(self, event, now):
        if isinstance(event, MessageReceived):
            assert type(event.body) in {Coming, Thanks} and event.body.sender == event.sender, event
            return (Tell(event.sender, Thanks(self.place)),) if type(event.body) is Coming else ()
        if not isinstance(event, TaskArrived):
            return ()
        to = self.nodes[self.dealt % len(self.nodes)].place
        self.dealt += self.step
        if event.task.hops or to == self.place:
            return (Keep(event.task.id),)
        return Tell(to, Coming(self.place, self.dealt)), Forward(event.task.id, to)
@ray.remote(cost=0.01)
def work():
    pass
with ray.init(sys.argv[1], nodes=2, num_cpus=1, scheduler=Checked(InTurn())) as session:
    ray.get([work.remote() for _ in range(20)])
    print(dict(sorted(Counter(run.place for run in runs(session.trace())).items())))
"""


@pytest.mark.processes
@pytest.mark.parametrize("backend", ["cluster", "sim"])
def test_a_policy_and_its_words_may_be_defined_in_the_main_program(tmp_path: Path, backend: str) -> None:
    future, rest = POLICY.split("\n", 2)[1:]
    script = tmp_path / "policy.py"
    script.write_text(f"{future}\n{PRELUDE}\n{rest}")
    done = subprocess.run([sys.executable, str(script), backend], capture_output=True, text=True, timeout=50)
    assert done.stdout == "{'n0': 10, 'n1': 10}\n", done.stderr


@pytest.fixture
def cell() -> Iterator[dict[str, Any]]:
    """A notebook's cell: its text is known to linecache alone, as IPython sees to it."""
    name, text = "/nowhere/ipykernel_1/7.py", "def cell_task(x):\n    return 10 / x  # in a cell\n"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), scope)
    yield scope
    del linecache.cache[name]


def test_code_of_a_notebook_takes_its_source_along(cell: dict[str, Any], backend: str) -> None:
    ray.init(backend, num_cpus=1)
    task = cell["cell_task"]
    with pytest.raises(ZeroDivisionError) as raised:
        ray.get(ray.remote(task).remote(0))
    assert 'File "/nowhere/ipykernel_1/7.py", line 2, in cell_task' in str(raised.value)
    assert "# in a cell" in str(raised.value)
    assert "# in a cell" in ray.get(ray.remote(lambda: inspect.getsource(task)).remote())


def test_inline_runs_the_very_code_so_that_a_debugger_finds_its_breakpoints() -> None:
    seen: list[str] = []

    @ray.remote
    def traced() -> int:
        return 3

    def trace(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_name == "traced":
            seen.append(os.path.basename(frame.f_code.co_filename))

    ray.init("inline")
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert ray.get(traced.remote()) == 3
    finally:
        sys.settrace(before)
    assert seen == ["test_by_value.py"]


@pytest.mark.parametrize("backend", ["sim", "inline"])
def test_where_the_code_is_in_this_process_the_very_code_runs(backend: str) -> None:
    @ray.remote
    def code() -> int:
        return id(inspect.currentframe().f_code)  # type: ignore[union-attr]

    ray.init(backend)
    assert ray.get(code.remote()) == id(code._code.thing.__code__)


def test_a_function_that_a_module_no_longer_has_under_its_name_travels_by_value(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    ray.init(backend, num_cpus=1)
    call = ray.remote(lambda function, *args: function(*args))
    original = inspect.cleandoc
    assert ray.get(call.remote(original, "  a")) == "a"
    monkeypatch.setattr(inspect, "cleandoc", lambda text: "another")
    assert ray.get(call.remote(original, "  a")) == "a"


@pytest.mark.processes
def test_a_class_of_main_that_changed_between_calls_is_new_everywhere(tmp_path: Path, backend: str) -> None:
    program = """
import msgspec
class Plain:
    rate = 1
    def value(self):
        return self.rate
class Words(msgspec.Struct):
    rate = 1
    def value(self):
        return self.rate
def value(thing):
    return thing.value()
ray.init(sys.argv[1], num_cpus=1)
for kind in (Plain, Words):
    print(told(value, kind()), end=" ")
    kind.rate = 2
    print(told(value, kind()), end=" ")
    kind.value = lambda self: self.rate * 100
    print(told(value, kind()), end=" ")
for n in range(2):  # a notebook's cell, run again
    class Plain:
        def value(self, n=n):
            return n
    def value(thing):
        return n, thing.value(), isinstance(thing, Plain)
    print(told(value, Plain()), ray.get(ray.remote(value).remote(Plain())), end=" ")
"""
    assert printed(tmp_path, program, backend) == [
        "1 2 200 1 2 200 (0, 0, True) (0, 0, True) (1, 1, True) (1, 1, True) "
    ]


@pytest.mark.processes
def test_a_helper_whose_cell_ran_again_is_the_new_one_in_code_that_was_sent(
    tmp_path: Path, backend: str
) -> None:
    program = """
import functools
def helper():
    return by_cache()
@functools.lru_cache
def by_cache():
    return part()
def by_part():
    return deeper()
part = functools.partial(by_part)
def deeper():
    return 1
class Model:
    @staticmethod
    def value():
        return 1
@ray.remote
def leaf():
    return 1
@ray.remote
def task():
    return helper(), Model.value(), ray.get(leaf.remote())
@ray.remote
class Actor:
    def method(self):
        return helper(), Model.value(), ray.get(leaf.remote())
def show():
    results = ray.get([task.remote(), Actor.remote().method.remote()])
    assert results[0] == results[1]
    print(results[0], end=" ")
ray.init(sys.argv[1], num_cpus=2)
show()
sent = task._code.ref(ray.client.runtime.current()).id
show()
assert sent == task._code.ref(ray.client.runtime.current()).id  # as long as nothing changes it is sent once
def deeper():
    return 2
show()
def helper():
    return 3
show()
Model.value = staticmethod(lambda: 4)
show()
class Model:
    def value():
        return 5
show()
@ray.remote
def leaf():
    return 6
show()
"""
    assert printed(tmp_path, program, backend) == [
        "(1, 1, 1) (1, 1, 1) (2, 1, 1) (3, 1, 1) (3, 4, 1) (3, 5, 1) (3, 5, 6) "
    ]
