"""What goes wrong in a simulation, by a fault plan."""
