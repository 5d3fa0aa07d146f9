"""The state machine of one place: see node.py for the door, and the other files for its parts."""

from labray.node.node import Node

__all__ = ["Node"]
