"""Tasks from submission to their end.

submission.py takes a new task to policy_host.py, where the policy decides; dependencies.py brings what it needs.
reporting.py takes what a worker says to the owner, and completion.py, at the owner, ends the task or tries it again.
"""
