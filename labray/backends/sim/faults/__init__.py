"""What carries out a fault plan in a simulation."""
