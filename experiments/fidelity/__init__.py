"""How far the simulator is from the truth: many programs, for real and simulated. `python -m experiments.fidelity`."""
