"""How fast are the small things, beside Ray and others in the same run? `python -m experiments.micro`."""
