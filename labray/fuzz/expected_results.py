"""What must come of each step of a program: the value of its result, and the errors that it may end in.

A promise follows from the program and the fault plan alone, never from what happened: who may be retried without end
on arguments that cannot be lost has a value whatever goes wrong; and an error needs something that explains it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from labray import errors
from labray.faults import Faults
from labray.fuzz.program import Step
from labray.fuzz.remote import ASKED, MODULUS
from labray.ids import HEAD

Kinds = frozenset[str]
NONE: Kinds = frozenset()
NAMES: tuple[tuple[type[Exception], str], ...] = (
    (errors.OwnerDiedError, "owner died"),
    (errors.ObjectLostError, "object lost"),
    (errors.WorkerCrashedError, "worker crashed"),
    (errors.TaskCancelledError, "cancelled"),
    (errors.TaskUnschedulableError, "unschedulable"),
    (errors.ActorDiedError, "actor died"),
    (errors.ActorUnavailableError, "actor unavailable"),
    (errors.ActorAlreadyExistsError, "name taken"),
    (errors.GetTimeoutError, "timeout"),
    (errors.ObjectStoreFullError, "store full"),
    (errors.OutOfDiskError, "out of disk"),
)
GONE: Kinds = frozenset(("actor died", "actor unavailable"))
FAULTY: Kinds = frozenset(("actor died", "unschedulable"))
FULL: Kinds = frozenset(("store full",))
ANYTHING: Kinds = frozenset(("asked", *(name for _, name in NAMES)))


def kind_of(error: BaseException) -> str:
    """The kind of an error: labray's word for it, `asked` if the program raised it on purpose, else its type's name."""
    if isinstance(error, errors.RayTaskError):
        return kind_of(error.cause)
    for kind, name in NAMES:
        if issubclass(type(error), kind):
            return name
    return "asked" if type(error).__name__ in ASKED else type(error).__name__


class Promise(Struct, frozen=True):
    """A result has this value (None: any will do), or ends in one of these kinds of error; it must, if it `fails`."""

    value: int | None = None
    may: Kinds = NONE
    fails: bool = False


class Dangers(Struct, frozen=True):
    """What a fault plan can do: kill nodes (and their stores), kill workers."""

    nodes: Kinds = NONE  # those that die
    workers: bool = False
    actors: bool = False  # that live: there are none at a head

    @staticmethod
    def of(faults: Faults, names: Sequence[str]) -> Dangers:
        mtbf = faults.mtbf
        drawn = (mtbf.nodes or tuple(names[1:])) if mtbf is not None else ()
        nodes = frozenset((*(death.node for death in faults.deaths), *drawn))
        return Dangers(nodes, bool(nodes or faults.crashes), bool(nodes - {HEAD} or faults.crashes))

    def to_stored(self) -> Kinds:
        """The errors that a value may end in which lies in a node's store and cannot be made again."""
        return frozenset(("object lost",)) if self.nodes else NONE

    def to_task(self, retries: int, large: bool) -> Kinds:
        """The errors that a task may end in by itself. Making a lost result again counts as a retry too."""
        if retries < 0 or not self.workers:
            return NONE
        return frozenset(("worker crashed", "object lost") if large and self.nodes else ("worker crashed",))


def names_in(step: Step) -> str:
    """The actor's name that a step is about, or ""."""
    if step.op in ("meet", "find"):
        return step.how
    words = step.how.split()
    return words[-1] if step.op == "actor" and ("new" in words or "found" in words) else ""


def actor_may(step: Step, steps: Sequence[Step], dangers: Dangers) -> Kinds:
    """The errors that calls of an actor may end in because of the actor."""
    words, name = step.how.split(), names_in(step)
    same = {other.number for other in steps if name and other.op == "actor" and names_in(other) == name}
    told = {other.op for other in steps if other.actor == step.number or other.actor in same}
    shared = any(other is not step and names_in(other) == name for other in steps if name)
    if "found" in words and shared:  # it may be another's, who lets go of it
        return GONE | FAULTY
    if "infeasible" in words or "fails" in words:
        return FAULTY
    if "kill" in told:
        return GONE
    if "crash_actor" in told or dangers.actors:
        return GONE if step.retries >= 0 else NONE if step.large else frozenset(("actor unavailable",))
    return NONE


class Results:
    """What was promised of the results so far. promised: by the number of the result."""

    def __init__(self) -> None:
        self.promised: dict[int, Promise] = {}
        self.lists: set[int] = set()  # results that are lists of refs

    def may_of(self, numbers: Sequence[int]) -> Kinds:
        """The errors that at least one of these results may end in."""
        may: Kinds = NONE
        for at in numbers:
            may |= self.promised[at].may
        return may

    def sum(self, args: Sequence[int], more: int = 0) -> int | None:
        """The sum of these results and another number; None if one of them is not known."""
        values = [self.promised[at].value for at in args]
        return None if None in values else (sum(values) + more) % MODULUS  # type: ignore[arg-type]

    def fails(self, args: Sequence[int]) -> bool:
        """Whether one of these results must end in an error."""
        return any(self.promised[at].fails for at in args)


class TaskPromises:
    """What must come of tasks and puts: a method for each kind of step."""

    def __init__(
        self, results: Results, steps: Sequence[Step], dangers: Dangers, cancelled: set[int]
    ) -> None:
        self._results = results
        self._dangers = dangers
        self._cancelled = cancelled
        dropped = {at for step in steps if step.op == "drop" for at in step.args}
        self._fragile = {step.number for step in steps if step.op == "put" and step.large} & dropped

    def leaf(self, step: Step, args: Sequence[int]) -> Promise:
        may = self._dangers.to_task(step.retries, step.large)
        how, _, where = step.how.partition(" ")
        if where in self._dangers.nodes and how != "soft":
            may |= {"unschedulable"}
        return Promise(step.value, may)

    def nap(self, step: Step, args: Sequence[int]) -> Promise:
        return Promise(step.value, self._dangers.to_task(step.retries, False))

    def nest(self, step: Step, args: Sequence[int]) -> Promise:
        return Promise(grown(step.tree, step.value))

    def put(self, step: Step, args: Sequence[int]) -> Promise:
        return Promise(step.value)

    pair = carry = put

    def patient(self, step: Step, args: Sequence[int]) -> Promise:
        """The task waits in its body, and what it waits for may fail."""
        return Promise(step.value, self._results.may_of(args))

    def add(self, step: Step, args: Sequence[int]) -> Promise:
        """A put value that was let go of cannot be made again when the result made from it is lost."""
        may = self._results.may_of(args) | self._dangers.to_task(step.retries, step.large)
        if not self._fragile.isdisjoint(args):
            may |= self._dangers.to_stored()
        return Promise(self._results.sum(args), may, self._results.fails(args))

    def spawn(self, step: Step, args: Sequence[int]) -> Promise:
        """The child is owned by the node where it ran."""
        self._results.lists.add(step.number)
        may = self._results.may_of(args) | (
            self._dangers.to_stored() | {"owner died"} if self._dangers.nodes else NONE
        )
        return Promise(self._results.sum(args, step.value), may, self._results.fails(args))

    def remade(self, step: Step, args: Sequence[int]) -> Promise:
        """Small arguments are kept for as long as what was made from them may be lost."""
        return Promise(2 * step.value)

    def crash(self, step: Step, args: Sequence[int]) -> Promise:
        return Promise(None, frozenset(("worker crashed",)), True)

    def fail(self, step: Step, args: Sequence[int]) -> Promise:
        return Promise(None, self._dangers.to_task(0, False) | {"asked"}, True)

    def flaky(self, step: Step, args: Sequence[int]) -> Promise:
        """An attempt that is lost is one in which it need not raise; what is cancelled is not retried.

        One that is lost with the head counts as an attempt and uses up no retry, where there are any.
        """
        failures, own = step.value % 3, self._dangers.to_task(step.retries, False)
        spared = step.retries > 0 and HEAD in self._dangers.nodes
        if failures > 0 and step.number in self._cancelled:
            own |= {"asked"}
        if failures > 0 and step.how == "others":
            return Promise(step.value, own | {"asked"}, not self._dangers.workers)
        if 0 <= step.retries < failures:
            return Promise(step.value if spared else None, own | {"asked"}, not spared)
        return Promise(step.value, own)

    def infeasible(self, step: Step, args: Sequence[int]) -> Promise:
        return Promise(None, frozenset(("unschedulable",)), True)


class ActorPromises:
    """What must come of actors' calls, and of tasks that use actors: a method for each kind of step."""

    OPS = frozenset(("call", "use", "relay", "kept", "meet", "find"))

    def __init__(
        self, results: Results, steps: Sequence[Step], dangers: Dangers, cancelled: set[int]
    ) -> None:
        self._results = results
        self._steps = steps
        self._dangers = dangers
        actors = [step for step in steps if step.op == "actor"]
        self._of_actor = {step.number: actor_may(step, steps, dangers) for step in actors}
        unsteady = {step.actor for step in steps if step.op == "crash_actor" or step.number in cancelled}
        shaken = {names_in(step) for step in actors if step.number in unsteady} - {""}
        unsteady |= {step.number for step in actors if names_in(step) in shaken}  # it may be the same one
        self._steady = {
            number
            for number, may in self._of_actor.items()
            if not may and number not in unsteady and not dangers.actors
        }
        # The sum of the driver's values at each actor; None once it is not known any more.
        self._sums: dict[int, int | None] = {}

    def may_be_taken(self, step: Step) -> bool:
        """Whether somebody else may have an actor of this name."""
        return any(names_in(other) == names_in(step) for other in self._steps if other is not step)

    def surely_alive(self, number: int) -> bool:
        """Whether nothing can end this actor but the driver's letting go of it."""
        how = next(step.how for step in self._steps if step.number == number)
        return number in self._steady and "found" not in how

    def call(self, step: Step, args: Sequence[int]) -> Promise:
        """add() gives the sum of what this caller gave so far."""
        may = self._of_actor[step.actor] | self._results.may_of(args)
        if step.large:
            return Promise(7, may | self._dangers.to_stored())
        before, value = self._sums.get(step.actor, 0), self._given(step, args)
        steady = step.actor in self._steady and not self._results.may_of(args)
        known = None if value is None or before is None or not steady else (before + value) % MODULUS
        self._sums[step.actor] = known
        return Promise(known, may, self._fails_for_actor(args))

    def use(self, step: Step, args: Sequence[int]) -> Promise:
        """Its third call tells the sum of all three, if the actor lived through them."""
        may = self._of_actor[step.actor] | self._results.may_of(args) | self._dangers.to_task(0, False)
        value = self._given(step, args) if step.actor in self._steady else None
        return Promise(None if value is None else 3 * value % MODULUS, may, self._fails_for_actor(args))

    def relay(self, step: Step, args: Sequence[int]) -> Promise:
        may = self._of_actor[step.actor] | self._results.may_of(args)
        for number, its in self._of_actor.items():
            may |= its if number < step.actor else NONE
        return Promise(self._given(step, args), may, self._fails_for_actor(args))

    def kept(self, step: Step, args: Sequence[int]) -> Promise:
        """The call returns something that the actor was given to keep, and nobody can say which."""
        self._results.lists.add(step.number)
        return Promise(None, ANYTHING)

    def meet(self, step: Step, args: Sequence[int]) -> Promise:
        may = GONE | {"name taken"} if self.may_be_taken(step) or self._dangers.workers else NONE
        return Promise(1, may | self._dangers.to_task(0, False))

    def find(self, step: Step, args: Sequence[int]) -> Promise:
        return Promise(step.value, GONE | FAULTY)

    def _given(self, step: Step, args: Sequence[int]) -> int | None:
        """The number that a call gives its actor; None if it is not known. An actor does not look into lists."""
        if not args:
            return step.value
        return None if args[0] in self._results.lists else self._results.promised[args[0]].value

    def _fails_for_actor(self, args: Sequence[int]) -> bool:
        return self._results.fails([at for at in args if at not in self._results.lists])


def grown(tree: tuple[int, ...], value: int) -> int:
    """The number that a nested task returns."""
    if not tree:
        return value
    return (sum(grown(tree[1:], value + at) for at in range(tree[0])) + value) % MODULUS
