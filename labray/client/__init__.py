"""The half of labray that runs users' code: it turns a program's calls into messages, alike in every world.

process.py submits, puts, gets and waits; execution.py says which task is calling; executor.py runs tasks in a worker.
It knows only the port to its world (runtime.py).
"""
