"""`labray calibrate`: a Profile of this machine for the simulator, from programs that run for real.

`probes` are the programs, `measuring` runs them, `fitting` makes a profile of what they took, and `calibrate` prints
and writes it. `machine` and `provenance` say where a figure comes from, here and in every experiment.
"""
