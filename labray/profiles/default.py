"""The profile that comes with labray. Written by `python -m experiments.calibrate --ship`."""

TOML = r"""
# Service times for the simulator: labray.init('sim', profile='this file')
version = 2
batch_s = 7.124470321480033e-05
message_s = 7.26052632447482e-06
inside_share = 0.12139776225840154
destination_s = 2.4373187941905374e-05
batch_limit = 512
wake_s = 2.25e-05
busy_wake_s = 6.250000000000001e-06
deep_wake_s = 0.000128125
deep_after_s = 0.00041875
cold_s = 0.0002625
cold_after_s = 0.000525
hop_s = 2.5e-05
after_share = 0.5
answered_s = 0.0001704524084775794
taken_s = 6.219072282040798e-05
submit_s = 1.091379310344827e-05
submit_dep_s = 2.417385057471266e-06
submitted_dep_s = 3.7033045977011538e-06
task_dep_s = 2.783764367816093e-06
call_s = 8e-06
answer_s = 1.5e-06
task_s = 2.3448275862068967e-05
export_s = 0.00013022049999955598
import_s = 5.1046000000002506e-05
first_s = 0.0013162345
slice_s = 0.004
poll_s = 1e-05
clock_s = 5e-08
codec_Bps = 4805750080.466779
fresh_Bps = 1346129754.9614997
local_Bps = 962062074.2890333
fork_s = 0.000703125
worker_start_s = 0.009843750000000002
flush_s = 0.001
flush_posts = 64
interpreter_s = 0.005
handover_s = 0.0001213143329116817
linger = 20
measured = "2 cores of x86_64, 24 GiB, Linux 6.18.44-fc-v669, 2026-11-23T08:46:16+00:00"

[messages_s]
SubmitTask = 2.541184213566187e-05
Finished = 2.541184213566187e-05
AssignTask = 2.541184213566187e-05
TaskDone = 1.452105264894964e-05
Get = 1.089078948671223e-05
Wait = 1.089078948671223e-05
PutObject = 9.075657905593525e-06
AgentMessage = 1.089078948671223e-05
Booted = 0.0
ClientJoined = 0.0
"""
