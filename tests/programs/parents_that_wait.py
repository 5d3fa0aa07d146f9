"""Many parents, on few CPUs, that wait for an actor, then for children of two shapes, and these for theirs."""

EXPECTED = [30 * 4, 30 * 4, 0]


def main(ray):
    @ray.remote
    class Counter:
        def __init__(self):
            self.now = self.ever = 0

        def step(self, by):
            self.now += by
            self.ever += max(by, 0)

        def seen(self):
            return self.ever, self.now

    @ray.remote
    def leaf(counter):
        ray.get(counter.step.remote(1))
        ray.get(counter.step.remote(-1))
        return 1

    @ray.remote
    def child(counter, shape):
        return sum(ray.get([leaf.options(num_cpus=shape).remote(counter) for _ in range(2)]))

    @ray.remote
    def parent(counter):
        ray.get(counter.seen.remote())
        return sum(ray.get([child.remote(counter, 1), child.options(num_cpus=0.5).remote(counter, 0)]))

    counter = Counter.remote()
    total = sum(ray.get([parent.remote(counter) for _ in range(30)]))
    return [total, *ray.get(counter.seen.remote())]
