"""How fast the simulator simulates, and how far it reaches, with a history. `python -m experiments.simspeed`."""
