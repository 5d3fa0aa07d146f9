"""Virtual time, and what else means something else in a simulated process."""
