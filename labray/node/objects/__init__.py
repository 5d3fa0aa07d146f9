"""What a node knows of objects: who owns, holds, borrows and stores them, and what its clients ask for.

directory.py has the objects, borrowing.py counts what was passed on, locations.py moves copies, client_table.py answers
get and wait.
"""
