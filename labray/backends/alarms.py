"""Which alarms of a node end by themselves, for worlds that notice when nothing can happen any more.

Some alarms are set again whenever they ring: those of agents, and the clock of the pipes. A world in which nothing
but such alarms is left would wait for ever, and so it counts how many ring in a row while nothing else happens.
"""

from __future__ import annotations

from labray.messages import SetAlarm
from labray.node.node import PIPE_ALARM

QUIET_ALARMS = 256
"""After so many alarms in a row with nothing between them, and 64 more for each node, nothing else will happen."""
QUIET_ALARMS_A_NODE = 64


def quiet_limit(nodes: int) -> int:
    """How many alarms in a row a world of so many nodes lets ring before it says that it is a deadlock."""
    return QUIET_ALARMS + QUIET_ALARMS_A_NODE * (nodes + 1)  # the head has alarms too


def is_awaited(alarm: SetAlarm) -> bool:
    """Whether a node set it for something that it will look at then; tokens of agents are odd."""
    return alarm.token % 2 == 0 and alarm.token != PIPE_ALARM
