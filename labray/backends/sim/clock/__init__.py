"""Virtual time, and all else that is virtual in a simulated process: chance, its number, waits."""
