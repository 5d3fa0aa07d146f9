"""The oracle knows what must come of a program: the value of each result, and the errors that it may end in.

A promise follows from the program and the fault plan alone, never from what happened: who may be retried without end
on arguments that cannot be lost has a value whatever goes wrong; and an error needs something that explains it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from labray import errors
from labray.faults import Faults
from labray.fuzz.program import SECOND, TOGETHER, UNLIMITED, Step
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


class Oracle:
    """Follows a program as it is carried out. promised: by the number of the result.

    room: how many large values a node's store holds at once.
    """

    def __init__(self, steps: Sequence[Step], dangers: Dangers, room: int = UNLIMITED) -> None:
        self.promised: dict[int, Promise] = {}
        self._room = room
        self._large: set[int] = set()  # results that take a place in a store
        self._steps = steps
        self._dangers = dangers
        actors = [step for step in steps if step.op == "actor"]
        self._of_actor = {step.number: actor_may(step, steps, dangers) for step in actors}
        self._cancelled = {at % SECOND for step in steps if step.op == "cancel" for at in step.args}
        unsteady = {
            step.actor for step in steps if step.op == "crash_actor" or step.number in self._cancelled
        }
        shaken = {names_in(step) for step in actors if step.number in unsteady} - {""}
        unsteady |= {step.number for step in actors if names_in(step) in shaken}  # it may be the same one
        self._steady = {
            number
            for number, may in self._of_actor.items()
            if not may and number not in unsteady and not dangers.actors
        }
        dropped = {at for step in steps if step.op == "drop" for at in step.args}
        self._fragile = {step.number for step in steps if step.op == "put" and step.large} & dropped
        self._lists: set[int] = set()  # results that are lists of refs
        # of the driver's values at each actor; None: not known any more
        self._sums: dict[int, int | None] = {}

    def note(self, step: Step, args: Sequence[int]) -> None:
        """A step that makes a result is carried out, on those of its arguments that are there."""
        promise: Promise = getattr(self, step.op)(step, args)
        if self._room == 0 and step.stores():
            promise = Promise(None, promise.may | FULL, True)
        elif step.op in TOGETHER and (full := self.full(args, step.op == "spawn" and step.large)):
            promise = Promise(promise.value, promise.may | full, promise.fails)
        if step.in_store():
            self._large.add(step.number)
        if step.number in self._cancelled and step.op != "put":
            promise = Promise(promise.value, promise.may | {"cancelled"}, promise.fails)
        self.promised[step.number] = promise
        if step.op == "pair":
            second = None if promise.fails else step.value + 1
            self.promised[step.number + SECOND] = Promise(second, promise.may, promise.fails)

    def full(self, numbers: Sequence[int], more: int = 0) -> Kinds:
        """The errors that may come of wanting these values, and more large ones, in one store at once."""
        together = len(self._large.intersection(numbers)) + more
        return FULL if together > self._room else NONE

    def may_of(self, numbers: Sequence[int]) -> Kinds:
        """The errors that at least one of these results may end in."""
        may: Kinds = NONE
        for at in numbers:
            may |= self.promised[at].may
        return may

    def may_be_taken(self, step: Step) -> bool:
        """Whether somebody else may have an actor of this name."""
        return any(names_in(other) == names_in(step) for other in self._steps if other is not step)

    def surely_alive(self, number: int) -> bool:
        """Whether nothing can end this actor but the driver's letting go of it."""
        return number in self._steady and "found" not in self._steps_by_number(number).how

    def _steps_by_number(self, number: int) -> Step:
        return next(step for step in self._steps if step.number == number)

    def _sum(self, args: Sequence[int], more: int = 0) -> int | None:
        values = [self.promised[at].value for at in args]
        return None if None in values else (sum(values) + more) % MODULUS  # type: ignore[arg-type]

    def _fails(self, args: Sequence[int]) -> bool:
        return any(self.promised[at].fails for at in args)

    def _lost(self) -> Kinds:
        return frozenset(("object lost",)) if self._dangers.nodes else NONE

    # ------------------------------------------------------------ tasks

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
        return Promise(step.value, self.may_of(args))

    def add(self, step: Step, args: Sequence[int]) -> Promise:
        """A put value that was let go of cannot be made again when the result made from it is lost."""
        may = self.may_of(args) | self._dangers.to_task(step.retries, step.large)
        if not self._fragile.isdisjoint(args):
            may |= self._lost()
        return Promise(self._sum(args), may, self._fails(args))

    def spawn(self, step: Step, args: Sequence[int]) -> Promise:
        """The child is owned by the node where it ran."""
        self._lists.add(step.number)
        may = self.may_of(args) | (self._lost() | {"owner died"} if self._dangers.nodes else NONE)
        return Promise(self._sum(args, step.value), may, self._fails(args))

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

    # ------------------------------------------------------------ actors

    def call(self, step: Step, args: Sequence[int]) -> Promise:
        """add() gives the sum of what this caller gave so far."""
        may = self._of_actor[step.actor] | self.may_of(args)
        if step.large:
            return Promise(7, may | self._lost())
        before, value = self._sums.get(step.actor, 0), self._given(step, args)
        steady = step.actor in self._steady and not self.may_of(args)
        known = None if value is None or before is None or not steady else (before + value) % MODULUS
        self._sums[step.actor] = known
        return Promise(known, may, self._fails_for_actor(args))

    def use(self, step: Step, args: Sequence[int]) -> Promise:
        """Its third call tells the sum of all three, if the actor lived through them."""
        may = self._of_actor[step.actor] | self.may_of(args) | self._dangers.to_task(0, False)
        value = self._given(step, args) if step.actor in self._steady else None
        return Promise(None if value is None else 3 * value % MODULUS, may, self._fails_for_actor(args))

    def relay(self, step: Step, args: Sequence[int]) -> Promise:
        may = self._of_actor[step.actor] | self.may_of(args)
        for number, its in self._of_actor.items():
            may |= its if number < step.actor else NONE
        return Promise(self._given(step, args), may, self._fails_for_actor(args))

    def kept(self, step: Step, args: Sequence[int]) -> Promise:
        """The call returns something that the actor was given to keep, and nobody can say which."""
        self._lists.add(step.number)
        return Promise(None, ANYTHING)

    def meet(self, step: Step, args: Sequence[int]) -> Promise:
        may = GONE | {"name taken"} if self.may_be_taken(step) or self._dangers.workers else NONE
        return Promise(1, may | self._dangers.to_task(0, False))

    def find(self, step: Step, args: Sequence[int]) -> Promise:
        return Promise(step.value, GONE | FAULTY)

    def _given(self, step: Step, args: Sequence[int]) -> int | None:
        """The errors that the arguments of a call may bring. An actor does not look into lists."""
        if not args:
            return step.value
        return None if args[0] in self._lists else self.promised[args[0]].value

    def _fails_for_actor(self, args: Sequence[int]) -> bool:
        return self._fails([at for at in args if at not in self._lists])


def grown(tree: tuple[int, ...], value: int) -> int:
    """The number that a nested task returns."""
    if not tree:
        return value
    return (sum(grown(tree[1:], value + at) for at in range(tree[0])) + value) % MODULUS
