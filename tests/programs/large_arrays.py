"""Arrays too large for a message, made on one node and used on every other, whole and shared by several."""

import numpy as np

EXPECTED = [300_000, [300_000 * 2] * 3, 600_000, True]


def main(ray):
    names = [node["NodeID"] for node in ray.nodes()]

    def at(index):
        return {f"node:{names[index % len(names)]}": 0.01}

    @ray.remote
    def make(value):
        return np.full(300_000, value, np.int32)

    @ray.remote
    def total(*arrays):
        return int(sum(array.sum() for array in arrays))

    @ray.remote
    class Keeper:
        def keep(self, box):
            self.array = ray.get(box[0])

        def total(self):
            return int(self.array.sum())

    one = make.options(resources=at(-1)).remote(1)
    two = ray.put(np.full(300_000, 2, np.int32))
    first = ray.get(total.options(resources=at(0)).remote(one))
    spread = ray.get([total.options(resources=at(n)).remote(two) for n in range(3)])
    keeper = Keeper.options(num_cpus=0, resources=at(-1)).remote()
    ray.get(keeper.keep.remote([two]))
    kept = ray.get(keeper.total.remote())
    back = ray.get([one, two, one])
    return [first, spread, kept, bool((back[0] == back[2]).all() and back[1].sum() == 600_000)]
