"""Files that users keep: recordings (.lab) and task graphs. Nothing below this floor opens a file."""
