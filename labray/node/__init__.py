"""A node decides what happens at one place of the cluster, and touches nothing: node.py is its door.

routing.py says which part takes a message, wings.py makes all parts. Each wing is a package that owns its state and
knows only those below it: context < objects, store < workers < actors < tasks < failures; inspect reads them all.
"""

from labray.node.node import Node

__all__ = ["Node"]
