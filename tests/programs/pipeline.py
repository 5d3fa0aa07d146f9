"""Stages of actors: each call takes the ref of the one before; every stage sees its items in order."""

EXPECTED = [[(n + 1) * 2 - 3 for n in range(30)], [list(range(30))] * 3]


def main(ray):
    @ray.remote
    class Stage:
        def __init__(self, what):
            self.what, self.seen = what, []

        def step(self, at, n):
            self.seen.append(at)
            return self.what(n)

        def order(self):
            return self.seen

    stages = [Stage.remote(what) for what in (lambda n: n + 1, lambda n: n * 2, lambda n: n - 3)]
    refs = []
    for n in range(30):
        ref = n
        for stage in stages:
            ref = stage.step.remote(n, ref)
        refs.append(ref)
    return [ray.get(refs), ray.get([stage.order.remote() for stage in stages])]
