"""num_returns: tuples, lists, arrays, generators, none at all, of tasks and of methods."""

import numpy as np

EXPECTED = [
    [1, 2],
    [3, 4, 5],
    [6, 7],
    [0, 1, 2],
    None,
    [8, 9],
    (1, 2),
    "Task returned 2 objects, but num_returns=3.",
]


def main(ray):
    @ray.remote(num_returns=2)
    def pair():
        return 1, 2

    @ray.remote
    def three():
        return [3, 4, 5]

    @ray.remote(num_returns=2)
    def rows():
        return np.array([6, 7])

    @ray.remote(num_returns=3)
    def count():
        yield from range(10)

    @ray.remote(num_returns=0)
    def nothing():
        return None

    @ray.remote
    class Maker:
        @ray.method(num_returns=2)
        def make(self):
            return 8, 9

    results = [ray.get(pair.remote()), ray.get(three.options(num_returns=3).remote())]
    results += [[int(n) for n in ray.get(rows.remote())], ray.get(count.remote()), nothing.remote()]
    results += [ray.get(Maker.remote().make.remote()), ray.get(pair.options(num_returns=1).remote())]
    _, _, third = pair.options(num_returns=3).remote()
    try:
        ray.get(third)
    except ValueError as error:
        results.append(str(error).strip().splitlines()[-1].partition(": ")[2])
    return results
