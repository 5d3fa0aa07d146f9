"""How the processes of a session begin and end."""
