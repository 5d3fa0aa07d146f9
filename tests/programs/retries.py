"""A worker that is killed in its first attempt: the task runs again, and an actor remembers how often."""

import os
import signal

WITHOUT = ("inline",)
PINNED = ("d-0.0",)
EXPECTED = [("alive", 2), "crashed", 2, ("raised", 3)]


def main(ray):
    @ray.remote
    class Memory:
        def __init__(self):
            self.seen = {}

        def attempt(self, who):
            self.seen[who] = self.seen.get(who, 0) + 1
            return self.seen[who]

        def attempts(self, who):
            return self.seen[who]

    memory = Memory.remote()

    @ray.remote
    def die_once():
        attempt = ray.get(memory.attempt.remote("once"))
        if attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive", attempt

    @ray.remote(max_retries=1)
    def die_always():
        ray.get(memory.attempt.remote("always"))
        os.kill(os.getpid(), signal.SIGKILL)

    @ray.remote(max_retries=5, retry_exceptions=[ValueError])
    def raise_twice():
        attempt = ray.get(memory.attempt.remote("raise"))
        if attempt < 3:
            raise ValueError(attempt)
        return "raised", attempt

    results = [ray.get(die_once.remote())]
    try:
        ray.get(die_always.remote())
    except ray.exceptions.WorkerCrashedError:
        results.append("crashed")
    return [*results, ray.get(memory.attempts.remote("always")), ray.get(raise_twice.remote())]
