"""Results that nobody wants are still made: of tasks, of methods, and of an actor whose handle is gone."""

EXPECTED = [30, "done"]


def main(ray):
    @ray.remote
    class Counter:
        def __init__(self):
            self.n = 0

        def add(self, k=1):
            self.n += k

        def read(self):
            return self.n

    @ray.remote
    def push(counter):
        ray.get(counter.add.remote())

    @ray.remote
    class Short:
        def __init__(self, counter):
            self.counter = counter

        def push(self):
            ray.get(self.counter.add.remote())

        def last(self):
            return "done"

    counter = Counter.remote()
    for _ in range(10):
        push.remote(counter)
        counter.add.remote()
    short = Short.remote(counter)
    for _ in range(10):
        short.push.remote()
    last = short.last.remote()
    del short
    while ray.get(counter.read.remote()) < 30:
        ray.sleep(0.001)
    return [ray.get(counter.read.remote()), ray.get(last)]
