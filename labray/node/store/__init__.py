"""The memory of a node's store: what is in it, who may write, and what is evicted.

node_store.py has the state. admission.py decides who may write, spilling.py chooses what is evicted or spilled.
"""
