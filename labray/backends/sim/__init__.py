"""The simulated cluster: the same nodes, agents and user code as for real, in virtual time.

SimPy's Environment is clock and event queue. Every process is a server of its messages: daemons (control) and the
processes that run users' code (clients), each on a host (hosts), talking over a network (network); a task body runs on
a greenlet. What else a program asks of its process (clocks, chance, its number, waits) is virtual as well (clock). What
is stored is in store, what goes wrong in faults. One program, cluster, scheduler and seed: one trace.
"""

from __future__ import annotations

from labray.backends.contract import Backend
from labray.backends.sim.settings import OPTIONS, Settings, read
from labray.backends.sim.sim_session import SimSession
from labray.config import Config

__all__ = ["BACKEND", "Settings", "SimSession", "start"]

SIMULATED_CPUS = 4
"""CPUs of a simulated node unless told: a simulation must not depend on the machine it runs on."""


def start(config: Config) -> SimSession:
    """Build the cluster and boot it, at virtual time 0."""
    settings = read(config.extra)
    settings.check_cluster([node.place for node in config.cluster().nodes], config.strict)
    return SimSession(config, settings)


BACKEND = Backend(
    start,
    options=OPTIONS,
    virtual_time=True,
    num_cpus=SIMULATED_CPUS,
    elastic=True,
    growing={"infeasible": "waits"},
)
