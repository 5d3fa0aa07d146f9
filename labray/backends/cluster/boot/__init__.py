"""How the processes of a session begin and end: fork_server.py forks them all, reaper.py sees that none is left."""
