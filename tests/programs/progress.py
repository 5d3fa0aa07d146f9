"""Estimate pi: tasks report to an actor while they work, and the driver reads how far they are."""

import random

EXPECTED = [10, True]


def main(ray):
    @ray.remote
    class Progress:
        def __init__(self):
            self.done = {}

        def report(self, who, samples):
            self.done[who] = samples

        def total(self):
            return sum(self.done.values())

    @ray.remote
    def sample(who, samples, progress):
        rng = random.Random(who)
        inside = 0
        for at in range(samples):
            inside += rng.random() ** 2 + rng.random() ** 2 < 1
            if at % 100 == 0:
                progress.report.remote(who, at)
        ray.get(progress.report.remote(who, samples))
        return inside

    progress = Progress.remote()
    refs = [sample.remote(who, 500, progress) for who in range(10)]
    while ray.get(progress.total.remote()) < 5000:
        ray.wait(refs, num_returns=len(refs), timeout=0.01)
    return [len(refs), 3.0 < 4 * sum(ray.get(refs)) / 5000 < 3.3]
