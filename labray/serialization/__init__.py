"""How values, code and exceptions travel: they become bytes in one process of a user, and come back in another."""
