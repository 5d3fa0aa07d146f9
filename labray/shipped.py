"""The profile that comes with labray. Written by `python -m experiments.calibrate --ship`."""

TOML = r"""
# Service times for the simulator: labray.init('sim', profile='this file')
batch_s = 5.466053020163075e-05
message_s = 5.703216781664211e-06
inside_share = 0.5592582957099602
destination_s = 1.869965506897894e-05
batch_limit = 512
wake_s = 0.0
busy_wake_s = 0.000103125
deep_wake_s = 0.0001515625
deep_after_s = 0.0002
cold_s = 0.0003515625
hop_s = 4.8437500000000005e-05
after_share = 0.75
answered_s = 0.00014201062521528268
taken_s = 4.973229170972321e-05
submit_s = 9.01282051282051e-06
submit_dep_s = 2.17948717948718e-06
submitted_dep_s = 4.2307692307692344e-06
task_dep_s = 2.948717948717949e-06
call_s = 8e-06
answer_s = 1.5e-06
task_s = 1.7435897435897434e-05
export_s = 0.0001147240000001215
import_s = 5.389599999999946e-05
first_s = 0.0013047984999999991
slice_s = 0.004
poll_s = 1e-05
clock_s = 5e-08
codec_Bps = 4194705652.459122
fresh_Bps = 1402683895.3653798
local_Bps = 789014511.4667314
fork_s = 0.0016406250000000002
worker_start_s = 0.00796875
flush_s = 0.001
flush_posts = 64
interpreter_s = 0.005
handover_s = 0.00014523083368381726
linger = 20
measured = "2 cores of x86_64, 24 GiB, Linux 6.18.44-fc-v669, 2026-11-23T08:11:54+00:00"

[messages_s]
Submit = 1.9961258735824735e-05
Finished = 1.9961258735824735e-05
Assign = 1.9961258735824735e-05
Done = 1.1406433563328421e-05
Get = 8.554825172496315e-06
Wait = 8.554825172496315e-06
Put = 7.129020977080263e-06
Told = 8.554825172496315e-06
Booted = 0.0
ClientJoined = 0.0
"""
