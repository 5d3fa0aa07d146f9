"""The profile that comes with labray. Written by `python -m experiments.calibrate --ship`."""

TOML = r"""
# Service times for the simulator: labray.init('sim', profile='this file')
batch_s = 5.37e-05
message_s = 3.8e-06
inside_share = 0.313
destination_s = 1.84e-05
batch_limit = 512
wake_s = 6e-05
busy_wake_s = 5e-06
deep_wake_s = 0.00015
deep_after_s = 0.0002
cold_s = 0.0004
hop_s = 0.0001
after_share = 0.5
answered_s = 0.000121
taken_s = 5.74e-05
submit_s = 5.81e-06
submit_dep_s = 1.53e-06
submitted_dep_s = 2.86e-06
task_dep_s = 1.7e-06
call_s = 8e-06
answer_s = 1.5e-06
task_s = 1.75e-05
export_s = 0.00011
import_s = 5.5e-05
first_s = 0.002
slice_s = 0.004
poll_s = 1e-05
clock_s = 5e-08
codec_Bps = 5060000000.0
fresh_Bps = 1360000000.0
local_Bps = 1040000000.0
fork_s = 0.002
worker_start_s = 0.005
flush_s = 0.001
flush_posts = 64
interpreter_s = 0.005
handover_s = 0.0002
linger = 20
measured = "2 cores of x86_64, Linux 6.18, 2026-11-23T06:28 (CPU times; latencies are estimates: `labray calibrate`)"

[messages_s]
Submit = 1.33e-05
Finished = 1.33e-05
Assign = 1.33e-05
Done = 7.6e-06
Get = 5.7e-06
Wait = 5.7e-06
Put = 4.75e-06
Told = 5.7e-06
Booted = 0.0
ClientJoined = 0.0
"""
