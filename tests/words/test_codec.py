import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping

import numpy as np
import pytest

from labray.client.refs import HandleTable, ObjectRef
from labray.messages import Payload, Ref
from labray.serialization import codec
from labray.serialization.unpicklable import UnpicklableError


@pytest.fixture
def table():
    return HandleTable("s", threading.RLock())


def round_trip(value, table):
    return codec.decode(codec.settle(codec.encode(value).payload), table.adopt)


@pytest.mark.parametrize(
    "value", [None, 3, 2.5, "x", b"y", True, [1, "a"], (1, [2]), {"a": {1, 2}}, [None] * 200, 1 + 2j]
)
def test_plain_values_come_back(value, table):
    assert round_trip(value, table) == value


@pytest.mark.parametrize(
    "array",
    [np.arange(10), np.zeros((3, 4), order="F"), np.arange(20)[::2], np.array(5.0), np.zeros(0), np.eye(300)],
    ids=["small", "fortran", "strided", "scalar", "empty", "large"],
)
def test_arrays_come_back_read_only(array, table):
    back = round_trip({"a": array}, table)["a"]
    assert np.array_equal(back, array)
    assert back.dtype == array.dtype
    assert not back.flags.writeable


def test_what_was_settled_does_not_see_later_changes(table):
    array = np.zeros(10)
    payload = codec.settle(codec.encode(array).payload)
    array += 1
    assert codec.decode(payload, table.adopt).sum() == 0


def test_identity_within_one_value_is_kept(table):
    array = np.zeros(3)
    first, second = round_trip([array, array], table)
    assert first is second


def test_functions_and_classes_defined_here_travel_by_code(table):
    class Point:
        def __init__(self, x):
            self.x = x

    offset = 3
    assert round_trip(lambda x: x + offset, table)(4) == 7
    assert round_trip([Point(5)], table)[0].x == 5


def test_importable_functions_travel_by_name(table):
    payload = codec.encode(np.linalg.norm).payload
    assert len(payload.data) < 100
    assert codec.decode(payload, table.adopt) is np.linalg.norm


@pytest.mark.processes
def test_a_class_of_the_main_program_travels_by_code():
    program = (
        "import threading\n"
        "from labray.serialization import codec\n"
        "class Mine:\n"
        "    pass\n"
        "print(b'Mine' in codec.encode([Mine()]).payload.data, len(codec.encode([Mine()]).payload.data) > 200)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["True", "True"]


def test_refs_inside_are_listed_once_each_in_order_of_appearance(table):
    a, b = (table.own(Ref(f"d-{at}.0", "n0")) for at in range(2))
    encoded = codec.encode({"x": [b, a], "y": b})
    assert encoded.payload.refs == (b.ref, a.ref)
    back = codec.decode(encoded.payload, table.adopt)
    assert back == {"x": [b, a], "y": b}
    assert back["x"][0].table is table


def test_refs_inside_a_function_are_listed(table):
    ref = table.own(Ref("d-1.0", "n0"))
    encoded = codec.encode(lambda: ref, by_value=True)
    assert encoded.payload.refs == (ref.ref,)
    assert codec.decode(encoded.payload, table.adopt)() == ref


def test_a_ref_pickled_elsewhere_is_refused(table):
    with pytest.raises(TypeError, match="outside labray"):
        pickle.dumps(table.own(Ref("d-1.0", "n0")))


def test_top_level_refs_become_slots_and_nested_ones_stay_refs(table):
    a, b = (table.own(Ref(f"d-{at}.0", "n0")) for at in range(2))
    call = codec.encode_call((a, 1, [b], a), {"k": b})
    assert list(call.deps) == [a, b]
    assert call.encoded.payload.refs == (b.ref,)
    value = object()
    args, kwargs = codec.decode_call(call.encoded.payload, [value, "b"], table.adopt)
    assert list(args[:2]) == [value, 1] and args[3] is value and kwargs == {"k": "b"}
    assert args[2] == [b] and isinstance(args[2][0], ObjectRef)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1,), {}), ((), {"a": 2}), ((1, "x"), {"a": None}), (([],), {"b": {}})]
)
def test_arguments_come_back(args, kwargs, table):
    payload = codec.encode_call(args, kwargs).encoded.payload
    back, named = codec.decode_call(payload, (), table.adopt)
    assert (tuple(back), named) == (args, kwargs)


class Holder:
    def __init__(self, inner):
        self.inner = inner


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda lock: lock, "the value cannot"),
        (lambda lock: [1, {"a": lock}], "the value[1]['a'] cannot"),
        (lambda lock: Holder([lock]), "the value.inner[0] cannot"),
        (lambda lock: lambda: lock, "(its variable 'lock') cannot"),
    ],
    ids=["itself", "container", "attribute", "closure"],
)
def test_what_cannot_be_pickled_is_named(make, path):
    with pytest.raises(TypeError) as caught:
        codec.encode(make(threading.Lock()))
    assert path in str(caught.value)
    assert "lock" in str(caught.value)


def test_an_argument_that_cannot_be_pickled_is_named():
    with pytest.raises(UnpicklableError, match=r"argument 'x'\[0\] cannot"):
        codec.encode_call((1,), {"x": [threading.Lock()]})
    with pytest.raises(UnpicklableError) as caught:
        codec.encode_call((1, threading.Lock()), {})
    assert caught.value.argument == 1


def test_a_value_nested_too_deeply_is_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TypeError, match="too deeply"):
        codec.encode(deep)
    while deep:  # or its own end would recurse as deep
        deep = deep.pop()


def test_sizes_count_buffers():
    assert codec.size_of(Payload(b"abc", (b"de", b"f"))) == 6
    assert codec.encode(np.zeros(1000)).size >= 8000


def drops(table):
    """What is told now."""
    said = []

    def say(message, step):
        step()
        said.extend(message.ids)

    table.drop(say)
    return said


def test_handles_are_one_and_dropped_when_it_is_gone(table):
    ref = table.own(Ref("d-1.0", "n0"))
    table.given([ref])()
    again = table.adopt(ref.ref)
    assert again is ref is copy.copy(ref) is copy.deepcopy([ref])[0]
    table.give([ref.ref])
    del ref
    assert drops(table) == []
    del again
    assert drops(table) == [("d-1.0", 2)]
    assert table.count() == 0


def test_what_was_never_given_is_never_dropped(table):
    table.adopt(Ref("d-1.0", "n0"))
    table.own(Ref("d-2.0", "n0"))
    assert drops(table) == []


def test_what_was_given_but_found_no_handle_is_dropped_at_once(table):
    table.give([Ref("d-1.0", "n0")])
    assert drops(table) == [("d-1.0", 1)]


def test_one_that_comes_again_is_another_handle(table):
    first = table.give([Ref("d-1.0", "n0")])
    del first
    again = table.give([Ref("d-1.0", "n0")])
    assert drops(table) == [("d-1.0", 1)]
    assert table.adopt(Ref("d-1.0", "n0")) is again[0]
    del again
    assert drops(table) == [("d-1.0", 1)]


def test_what_outlives_a_task_is_kept_and_given_by_that(table):
    kept, gone = Ref("d-1.0", "n0"), Ref("d-2.0", "n0")
    held = table.adopt(kept)
    table.adopt(gone)
    living = table.living([kept, gone, kept])
    assert living == [held]
    table.given(living)()
    del held, living
    assert drops(table) == [("d-1.0", 1)]


def test_a_drop_that_is_broken_off_is_told_by_the_next(table):
    table.give([Ref("d-1.0", "n0"), Ref("d-2.0", "n0")])

    def interrupted(message, step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table.drop(interrupted)
    assert sorted(drops(table)) == [("d-1.0", 1), ("d-2.0", 1)]
    assert drops(table) == []


def test_a_class_unpickled_where_it_was_made_stays_as_it_was(table):
    class Counter:
        def count(self):
            return 1

    before = Counter.count
    payload = codec.encode(Counter, by_value=True).payload
    assert codec.decode(payload, table.adopt) is Counter
    assert Counter.count is before
    assert codec.encode(Counter, by_value=True).payload == payload


def test_what_objects_to_being_looked_into_is_named_itself():
    class Odd(Mapping):
        def __reduce__(self):
            raise StopIteration("not me")

        def __iter__(self):
            raise ZeroDivisionError

        __getitem__ = __len__ = __iter__

    class Mute(Exception):
        def __str__(self):
            raise SystemExit

    class Silent:
        def __reduce__(self):
            raise Mute

    with pytest.raises(UnpicklableError, match=r"the value\[1\] cannot be pickled: not me \(a .*Odd\)"):
        codec.encode([1, Odd()])
    with pytest.raises(UnpicklableError, match=r"its __str__ raised SystemExit> \(a .*Silent\)"):
        codec.encode(Silent())


class Located(OSError):
    __slots__ = ("column",)

    def __init__(self, code, *, where):
        super().__init__(code, f"at {where}", where)
        self.column, self.where = 7, where

    def __setattr__(self, name, value):
        if "where" in vars(self):
            raise AttributeError("it is fixed")
        super().__setattr__(name, value)


def test_an_exception_that_is_a_value_comes_back_whatever_its_constructor_takes(table):
    class Local(ValueError):
        def __init__(self, first, second):
            super().__init__(f"{first} and {second}")
            self.both = [first, second]

    local, located = Local(1, 2), Located(2, where="home")
    local.both.append(local)  # and what leads back
    missing = AttributeError("no", name="x", obj=threading.Lock())
    group = ExceptionGroup("g", [local, located])
    back = codec.decode(codec.encode([group, missing, KeyError("k")]).payload, table.adopt)
    one, other = back[0].exceptions
    assert type(one).__name__ == "Local" and one.args == ("1 and 2",) and one.both == [1, 2, one]
    assert (other.errno, other.filename, other.where, other.column) == (2, "home", "home", 7)
    assert back[1].name == "x" and back[2].args == ("k",)
