import pickle
import threading

import pytest

from labray import errors
from labray.messages import ErrorInfo
from labray.serialization import remote_errors


def told(error):
    """The error as it comes out at the other end."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001  (whatever it is, is told)
        return remote_errors.restore(remote_errors.describe(caught, "work"))


class Custom(ValueError):
    def __init__(self, code, *, note="n"):
        super().__init__(f"code {code}")
        self.code = code
        self.note = note

    def double(self):
        return self.code * 2


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), KeyError("k"), OSError(2, "gone"), UnicodeDecodeError("utf8", b"", 0, 1, "r"),
     ExceptionGroup("g", [ValueError(1)]), ZeroDivisionError(), TimeoutError("t"), AssertionError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_users_error_is_both_a_task_error_and_its_own_class(error):
    back = told(error)
    assert isinstance(back, errors.RayTaskError)
    assert isinstance(back, type(error))
    assert isinstance(back, errors.RayError)
    assert repr(back.args) == repr(error.args)
    assert type(back).__name__ == f"RayTaskError({type(error).__name__})"
    assert "work() raised" in str(back) and "test_errors.py" in str(back)


def test_attributes_and_methods_of_the_cause_are_there():
    class NeedsTwo(Exception):
        def __init__(self, first, second):
            super().__init__("text")
            self.first, self.second = first, second

        def __reduce__(self):
            return NeedsTwo, (self.first, self.second)

    back = told(NeedsTwo(1, 2))
    assert (back.first, back.second, back.args) == (1, 2, ("text",))
    assert told(OSError(2, "gone")).errno == 2
    assert isinstance(back.cause, Exception)


def test_it_survives_pickling_with_both_its_classes():
    back = pickle.loads(pickle.dumps(told(ValueError("x"))))
    assert isinstance(back, ValueError) and isinstance(back, errors.RayTaskError)
    assert "work() raised" in str(back)


def test_an_error_that_passes_through_a_second_task_keeps_its_class_and_both_tracebacks():
    inner = told(ValueError("deep"))
    try:
        raise inner
    except errors.RayTaskError as caught:
        outer = remote_errors.restore(remote_errors.describe(caught, "outer"))
    assert isinstance(outer, ValueError)
    assert "outer() raised" in str(outer) and "work() raised" in str(outer)


def test_what_cannot_be_pickled_is_told_in_words():
    error = ValueError("has a lock")
    error.lock = threading.Lock()
    back = told(error)
    assert isinstance(back, errors.RayTaskError)
    assert "ValueError: has a lock" in str(back.cause)
    assert "test_errors.py" in str(back)


def test_what_cannot_be_unpickled_is_told_in_words():
    back = told(Custom(3))  # its constructor takes no message
    assert isinstance(back, errors.RayTaskError)
    odd = remote_errors.restore(
        ErrorInfo("task", "m", "Odd", "work() raised:\nthe traceback", b"not a pickle")
    )
    assert "Odd: m" in str(odd.cause) and "the traceback" in str(odd)


def test_an_exception_whose_str_raises_still_arrives():
    class Rude(Exception):
        def __str__(self):
            raise RuntimeError("no")

    info = remote_errors.describe(Rude(), "work")
    assert info.type_name.endswith("Rude") and "RuntimeError" in info.message


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("worker_crashed", errors.WorkerCrashedError),
        ("actor_died", errors.ActorDiedError),
        ("actor_unavailable", errors.ActorUnavailableError),
        ("object_lost", errors.ObjectLostError),
        ("owner_died", errors.OwnerDiedError),
        ("cancelled", errors.TaskCancelledError),
        ("unschedulable", errors.TaskUnschedulableError),
        ("system", errors.LabraySystemError),
    ],
)
def test_each_kind_becomes_its_documented_type(kind, expected):
    error = remote_errors.restore(ErrorInfo(kind, "why", traceback="where\n"))
    assert type(error) is expected
    assert str(error) == "why\nwhere"


def test_the_tree_has_rays_bases():
    assert issubclass(errors.GetTimeoutError, TimeoutError)
    assert issubclass(errors.ActorAlreadyExistsError, ValueError)
    assert issubclass(errors.ActorDiedError, errors.RayActorError)
    assert issubclass(errors.OwnerDiedError, errors.ObjectLostError)
    assert errors.RayError is errors.LabrayError
