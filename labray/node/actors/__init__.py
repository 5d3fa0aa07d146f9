"""Actors: calling.py takes calls to where their actor lives, hosting.py runs them there in order.

lifecycle.py is the owner's side, which decides on restarts. registry.py keeps names at the head, name_client.py asks
for them.
"""
