"""Handles travel: to tasks, inside lists, out of tasks, and into a closure."""

PINNED = ("d-0.0",)
EXPECTED = [45, 48, 1, 50]


def main(ray):
    @ray.remote
    class Counter:
        def __init__(self):
            self.n = 0

        def add(self, k):
            self.n += k
            return self.n

    @ray.remote
    def push(counter, k):
        ray.get(counter.add.remote(k))

    @ray.remote
    def push_all(box, k):
        return [ray.get(counter.add.remote(k)) for counter in box["counters"]][-1]

    @ray.remote
    def make():
        return Counter.remote()

    counter = Counter.remote()

    @ray.remote
    def by_closure():
        return ray.get(counter.add.remote(2))

    ray.get([push.remote(counter, k) for k in range(10)])
    total = ray.get(counter.add.remote(0))
    both = ray.get(push_all.remote({"counters": [counter]}, k=3))
    made = ray.get(make.remote())
    return [total, both, ray.get(made.add.remote(1)), ray.get(by_closure.remote())]
