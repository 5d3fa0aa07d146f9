"""Floor 5: the command line, the pytest plugin, the ends of sessions."""
