"""The worker processes of a node, its resources, and the ready tasks that wait for them.

pool.py says which ready task is sent to which worker; headcount.py says how many processes there are.
"""
