"""How values, code and exceptions travel: to bytes in one process of a user, and back in another."""
