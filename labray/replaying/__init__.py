"""A recorded program is replayed on clusters that one does not have.

`recording` writes and reads what a session did, `acting` acts it out in the simulator, `whatif` compares clusters,
and `report` is what `labray whatif` prints. Nothing here runs anything for real.
"""
