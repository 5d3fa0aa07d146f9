"""Custom resources: what fits runs together, and what does not never does. Fractions of a CPU count too."""

import time

WITHOUT = ("inline",)  # where a stack of frames is all there is, and bounds would be deadlocks
EXPECTED = [4, 2, 1, 40]


def main(ray, second=1.0):
    first = ray.nodes()[0]["NodeID"]

    @ray.remote(num_cpus=0)
    class Meter:
        def __init__(self):
            self.inside = self.most = 0

        def enter(self):
            self.inside += 1
            self.most = max(self.most, self.inside)

        def leave(self):
            self.inside -= 1

        def seen(self):
            return self.most

    @ray.remote(num_cpus=0)
    def meet(meter, wanted):
        ray.get(meter.enter.remote())
        for _ in range(5000):
            if ray.get(meter.seen.remote()) >= wanted:
                break
            time.sleep(0.01 * second)
        ray.get(meter.leave.remote())
        return ray.get(meter.seen.remote())

    def most(tape, wanted):
        meter = Meter.remote()
        task = meet.options(resources={"tape": tape, f"node:{first}": 0.001})
        ray.get([task.remote(meter, wanted) for _ in range(4)])
        return ray.get(meter.seen.remote())

    @ray.remote(num_cpus=0.1)
    def one():
        return 1

    return [most(0.5, 4), most(1, 2), most(2, 1), sum(ray.get([one.remote() for _ in range(40)]))]
