"""Is the simulator right? `python -m experiments.validate`; a module of cases a family, each of them judged."""
