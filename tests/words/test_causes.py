"""Exceptions that travel: nothing that they say of themselves is lost, and no class can keep one from arriving."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labray import errors
from labray.messages import ErrorInfo
from labray.serialization import exceptions, remote_errors


def told(error: BaseException) -> Any:
    """The error as it comes out at the other end of a wire."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001  (whatever it is, is told)
        info = remote_errors.describe(caught, "work")
    return remote_errors.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(info), type=ErrorInfo))


class Two(Exception):
    """Its args are not what its constructor takes."""

    def __init__(self, code: int, where: str) -> None:
        super().__init__(f"{code} at {where}")
        self.code = code


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, *, code: int) -> None:
        self.code = code


class Default(Exception):
    code = 0


class Keeps(Exception):
    """Pickled as it says, and its attributes with it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code

    def __reduce__(self) -> Any:
        return Keeps, (self.code,)


class WrongReduce(Exception):
    """What it says of itself does not make one."""

    def __init__(self, code: int, where: str) -> None:
        super().__init__(f"{code} at {where}")
        self.code = code

    def __reduce__(self) -> Any:
        return WrongReduce, (self.code,)


def of(kind: type[Exception], **attributes: Any) -> Exception:
    error = kind("x")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


# ---------------------------------------------------------------- nothing is lost


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (Two(7, "home"), {"code": 7, "args": ("7 at home",)}),
        (Slotted(code=7), {"code": 7, "args": ()}),
        (of(Default, code=7), {"code": 7}),
        (Keeps(7), {"code": 7, "args": ("code 7",)}),
        (WrongReduce(7, "home"), {"code": 7}),
        (of(Default, cause="disk"), {"args": ("x",)}),
        (ImportError("no", name="a", path="b"), {"name": "a", "path": "b", "msg": "no"}),
        (NameError("no", name="a"), {"name": "a"}),
        (AttributeError("no", name="a", obj=5), {"name": "a", "obj": 5}),
        (FileNotFoundError(2, "no", "a", None, "b"), {"errno": 2, "filename": "a", "filename2": "b"}),
        (UnicodeDecodeError("utf-8", b"ab", 0, 1, "no"), {"object": b"ab", "end": 1, "reason": "no"}),
        (SyntaxError("no", ("f", 3, 4, "text", 5, 6)), {"filename": "f", "lineno": 3, "end_offset": 6}),
        (of(ValueError, __notes__=["row 17"]), {"__notes__": ["row 17"]}),
        (pickle.UnpicklingError("no"), {"args": ("no",)}),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_an_error_says_of_itself_arrives_in_it_and_in_its_cause(
    error: BaseException, fields: dict[str, Any]
) -> None:
    back = told(error)
    assert isinstance(back, errors.RayTaskError) and isinstance(back, type(error))
    assert type(back.cause) is type(error)
    for name, value in fields.items():
        assert getattr(back, name) == getattr(back.cause, name) == value


def test_blocking_io_and_the_object_of_an_attribute_error_travel_as_far_as_they_can() -> None:
    assert told(BlockingIOError(11, "no", 5)).characters_written == 5
    back = told(AttributeError("no", name="a", obj=threading.Lock()))
    assert isinstance(back, AttributeError) and back.name == "a" and back.obj is None


def test_causes_contexts_and_members_arrive_each_as_what_it_is() -> None:
    try:
        try:
            try:
                raise Two(1, "a")
            except Two:
                raise KeyError("k")  # noqa: B904  (a context is what is wanted)
        except KeyError as error:
            raise ValueError("v") from error
    except ValueError as error:
        error.__suppress_context__ = False
        back = told(error)
    assert isinstance(back.__cause__, KeyError) and back.__cause__ is back.__context__
    assert isinstance(back.__cause__.__context__, Two) and back.__cause__.__context__.code == 1
    assert back.__suppress_context__ is False and back.cause.__cause__ is back.__cause__
    group = told(ExceptionGroup("g", [Two(2, "b"), ExceptionGroup("h", [ValueError("deep")])]))
    assert [type(one).__name__ for one in group.exceptions] == ["Two", "ExceptionGroup"]
    assert group.message == "g" and group.exceptions[0].code == 2
    taken, left = group.split(Two)
    assert taken.exceptions[0].code == 2 and len(left.exceptions) == 1


def test_what_is_raised_from_none_hides_its_context_there_too() -> None:
    try:
        try:
            raise KeyError("k")
        except KeyError:
            raise ValueError("v") from None
    except ValueError as error:
        back = told(error)
    assert back.__cause__ is None and back.__suppress_context__ and isinstance(back.__context__, KeyError)


def test_an_error_inside_an_error_arrives_once_and_may_lead_back() -> None:
    inner = Two(1, "a")
    outer = ValueError("v", inner)
    outer.inner = inner  # type: ignore[attr-defined]
    inner.outer = outer  # type: ignore[attr-defined]
    back = told(outer).cause
    assert back.inner is back.args[1] and isinstance(back.inner, Two) and back.inner.outer is back
    circular = ValueError()
    circular.args = (circular,)
    assert "contains itself" in str(told(circular).cause.args[0])


def test_a_cause_that_cannot_be_pickled_is_told_in_words_and_the_others_arrive() -> None:
    locked = KeyError("locked")
    locked.lock = threading.Lock()  # type: ignore[attr-defined]
    error = ValueError("v")
    error.__cause__ = locked
    locked.__cause__ = Two(1, "a")
    back = told(error)
    assert isinstance(back, ValueError)
    assert isinstance(back.__cause__, errors.RemoteError) and "KeyError: 'locked'" in str(back.__cause__)
    assert isinstance(back.__cause__.__cause__, Two)


def test_an_error_that_cannot_be_pickled_says_so_and_why() -> None:
    back = told(of(Two.__base__, lock=threading.Lock()))  # type: ignore[arg-type]
    assert type(back.cause) is errors.RemoteError and isinstance(back.cause, errors.RayError)
    assert (
        "Exception: x" in str(back.cause)
        and "isn't serializable" in str(back.cause)
        and "lock" in str(back.cause)
    )


def test_what_is_passed_on_keeps_its_notes_and_gets_those_of_who_passed_it_on() -> None:
    inner = told(Two(1, "a"))
    inner.add_note("seen on the way")
    back = told(inner)
    assert isinstance(back, Two) and back.code == 1 and back.__notes__ == ["seen on the way"]
    again = told(back)
    assert again.__notes__ == ["seen on the way"] and type(again.cause) is Two
    outer = ValueError("outer")
    outer.__cause__ = told(of(Default, code=7))
    assert told(outer).__cause__.code == 7
    outer.__cause__ = told(FileNotFoundError(2, "no", "a"))
    assert told(outer).__cause__.filename == "a"
    outer.__cause__ = again
    assert isinstance(told(outer).__cause__, Two) and isinstance(told(outer).__cause__, errors.RayTaskError)


def test_it_can_be_pickled_by_others_with_all_it_has() -> None:
    class Reduced(Exception):
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise RuntimeError("no")

    back = told(Two(1, "a"))
    assert isinstance(errors.RayTaskError("f", "text", Reduced()).as_instanceof_cause(), Reduced)
    assert errors.RayTaskError("f", "text", Reduced()).as_instanceof_cause().__reduce_ex__(4)[1][0] == "f"
    assert back.function_name == "work" and "work() raised" in back.traceback_str


# ---------------------------------------------------------------- signals


class Own(BaseException):
    pass


@pytest.mark.parametrize(
    "kind", [StopIteration, StopAsyncIteration, GeneratorExit, KeyboardInterrupt, SystemExit]
)
def test_what_would_mean_something_to_the_callers_python_is_no_such_thing_there(
    kind: type[BaseException],
) -> None:
    class Mine(kind):  # type: ignore[misc,valid-type]
        pass

    for error in (kind("x"), Mine("x")):
        back = told(error)
        assert type(back) is errors.RayTaskError and not isinstance(back, kind)
        assert type(back.cause).__name__ == type(error).__name__ and back.cause.args == ("x",)


def test_cancellations_of_asyncio_and_ends_of_greenlets_are_signals_and_other_base_exceptions_are_not() -> (
    None
):
    import asyncio

    import greenlet

    assert type(told(asyncio.CancelledError())) is errors.RayTaskError
    assert type(told(greenlet.GreenletExit())) is errors.RayTaskError
    assert isinstance(told(Own("x")), Own)


# ---------------------------------------------------------------- bounds


def test_a_long_chain_and_a_deep_tree_arrive_as_far_as_they_go() -> None:
    first = error = ValueError("0")
    for at in range(5_000):
        error.__cause__ = error = ValueError(str(at))  # type: ignore[assignment]
    back, length = told(first), 0
    while back.__cause__ is not None:
        back, length = back.__cause__, length + 1
    assert exceptions.MOST_PARTS - 1 <= length <= exceptions.MOST_PARTS and "too many" in str(back)
    group: Exception = ValueError("leaf")
    for _ in range(5_000):
        group = ExceptionGroup("g", [group])
    assert "g (1 sub-exception)" in str(told(group))


def test_what_is_too_large_is_told_in_words_with_both_its_ends() -> None:
    text = "begin" + "x" * 1_000_000 + "end"
    info = remote_errors.describe(ValueError(text), "work")
    assert len(info.message) < 20_000 and len(info.traceback) < 300_000
    assert info.message.startswith("begin") and info.message.endswith("end")
    assert told(ValueError(text)).args == (text,)
    back = told(ValueError("x" * (exceptions.MOST_BYTES + 1)))
    assert type(back.cause) is errors.RemoteError and "that may travel" in str(back.cause)
    text = "x" * (exceptions.MOST_BYTES // 2)
    many = remote_errors.restore(remote_errors.describe(ValueError(text), "work", copies=3))
    assert type(many.cause) is errors.RemoteError  # type: ignore[attr-defined]


def test_text_that_utf_8_cannot_carry_arrives() -> None:
    back = told(ValueError("a name: \udc80"))
    assert back.args == ("a name: \udc80",) and r"\udc80" in str(back)


# ---------------------------------------------------------------- objections

armed = False


def objection(name: str, worse: type[BaseException], base: type) -> Any:
    """A method that raises, once the exception exists; until then it is the base's."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if armed:
            raise worse(name)
        for each in base.__mro__:
            if name in vars(each):
                return vars(each)[name].__get__(self, type(self))(*args, **kwargs)
        raise AttributeError(name)

    return method


METHODS = [
    "__setattr__", "__delattr__", "__getattribute__", "__getattr__", "__str__", "__repr__", "__reduce__",
    "__reduce_ex__", "__getstate__", "__setstate__", "__eq__", "__hash__", "__bool__", "__len__", "__iter__",
    "__init__", "__format__", "__dir__", "__sizeof__", "__getitem__", "with_traceback", "add_note",
]  # fmt: skip
PROPERTIES = [
    "args", "cause", "__class__", "__dict__", "__cause__", "__context__", "__traceback__", "__notes__", "function_name",
    "traceback_str", "__suppress_context__", "__module__", "__doc__",
]  # fmt: skip
OF_THE_CLASS = ["__init_subclass__", "__new__", "__getnewargs__", "__getnewargs_ex__"]
OF_ITS_CLASS = [
    "__call__",
    "__instancecheck__",
    "__hash__",
    "__eq__",
    "__getattribute__",
    "__setattr__",
    "mro",
]
WORSE = [RuntimeError, KeyError, SystemExit, GeneratorExit, Own, StopIteration, RecursionError, MemoryError]
BASES = [Exception, ValueError, OSError, KeyError, Own, StopIteration, ImportError, SyntaxError, UnicodeError]


@settings(max_examples=400, deadline=None)
@given(
    st.sets(st.sampled_from(METHODS + PROPERTIES + OF_THE_CLASS), max_size=4),
    st.sets(st.sampled_from(OF_ITS_CLASS), max_size=2),
    st.sampled_from(WORSE),
    st.sampled_from(BASES),
)
def test_whatever_a_class_objects_to_its_error_arrives(
    objects: set[str], of_its_class: set[str], worse: type[BaseException], base: type[BaseException]
) -> None:
    global armed

    meta = type("Meta", (type,), {name: objection(name, worse, type) for name in of_its_class})
    own: dict[str, Any] = {"__module__": __name__}
    for name in objects:
        wrap = (
            property
            if name in PROPERTIES
            else classmethod
            if name == "__init_subclass__"
            else lambda method: method
        )
        own[name] = wrap(objection(name, worse, base))
    kind = meta("Objecting", (base,), own)
    try:
        error = kind("x", 1)
    except Exception:  # noqa: BLE001  (Python itself cannot do with such a class)
        return
    armed = True
    try:
        info = remote_errors.describe(error, "work")
        back = remote_errors.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(info), type=ErrorInfo))
        text = str(back)
    finally:
        armed = False
    assert issubclass(type(back), errors.RayTaskError)
    assert "Objecting" in text and text.startswith("work() raised")
    assert issubclass(type(errors.RayTaskError.cause.fget(back)), BaseException)  # type: ignore[attr-defined]
