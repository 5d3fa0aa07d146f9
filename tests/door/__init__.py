"""Floor 4: the command line, the pytest plugin, the ends of sessions."""
