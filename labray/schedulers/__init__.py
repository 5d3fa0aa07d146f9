"""Policies decide where tasks run. One family is in each file: online, planned, and the parts that several share.

What a policy is told and may say is in labray/scheduling.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from labray.schedulers.checked import Checked
from labray.schedulers.online.b_level import BLevel
from labray.schedulers.online.bottom_up import BottomUp
from labray.schedulers.online.centralized import Centralized
from labray.schedulers.online.least_loaded import LeastLoaded
from labray.schedulers.online.ownership_leases import OwnershipLeases
from labray.schedulers.online.power_of_d import PowerOfD
from labray.schedulers.online.random import Random
from labray.schedulers.online.rebalancing import Rebalancing
from labray.schedulers.online.round_robin import RoundRobin
from labray.schedulers.online.single import Single
from labray.schedulers.online.work_stealing import WorkStealing
from labray.schedulers.planned.plans import Workload
from labray.schedulers.planned.static import Cpop, Dls, Heft, Hlfet, Lookahead, Peft, Static
from labray.schedulers.planned.workloads import executed, recorded
from labray.scheduling import Scheduler

__all__ = [
    "NAMES",
    "BLevel",
    "BottomUp",
    "Centralized",
    "Checked",
    "Cpop",
    "Dls",
    "Heft",
    "Hlfet",
    "LeastLoaded",
    "Lookahead",
    "OwnershipLeases",
    "Peft",
    "PowerOfD",
    "Random",
    "Rebalancing",
    "RoundRobin",
    "Scheduler",
    "Single",
    "WorkStealing",
    "Workload",
    "executed",
    "plans_nothing",
    "recorded",
    "resolve",
]

NAMES: dict[str, Callable[[], Scheduler]] = {
    "bottom_up": BottomUp,
    "centralized": Centralized,
    "random": Random,
    "round_robin": RoundRobin,
    "least_loaded": LeastLoaded,
    "power_of_d": PowerOfD,
    "work_stealing": WorkStealing,
    "rebalancing": Rebalancing,
    "ownership_leases": OwnershipLeases,
    "single": Single,
    "b_level": BLevel,
    "hlfet": Hlfet,
    "heft": Heft,
    "cpop": Cpop,
    "peft": Peft,
    "lookahead": Lookahead,
    "dls": Dls,
}


def plans_nothing(scheduler: Scheduler) -> bool:
    """Whether it plans ahead and was told no graph: then it does no more than to deal tasks out in turn."""
    return isinstance(scheduler, Static) and not scheduler.work.tasks


def resolve(scheduler: object) -> Scheduler:
    """The policy meant by a name, by a policy itself, or by its class if that needs no arguments.

    ValueError for an unknown name, TypeError for what is no policy.
    """
    if isinstance(scheduler, str):
        make = NAMES.get(scheduler)
        if make is None:
            near = get_close_matches(scheduler, NAMES, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"unknown scheduler {scheduler!r}: did you mean {near!r}? Known: {', '.join(NAMES)}."
            )
        return make()
    if isinstance(scheduler, type) and isinstance(
        scheduler, Scheduler
    ):  # the class has all that its values have
        try:
            return resolve(scheduler())
        except TypeError as error:
            raise TypeError(
                f"scheduler={scheduler!r} is a class that needs arguments: pass a value. ({error})"
            ) from error
    if not isinstance(scheduler, Scheduler):
        raise TypeError(
            f"scheduler={scheduler!r} is no scheduler: it takes a name ({', '.join(NAMES)}) or a value with "
            "`words`, `interest` and `agent(place, cluster, view, rng)`."
        )
    return scheduler
