"""Actors found by their name, in the driver and in tasks; a name is free again when its actor is gone."""

EXPECTED = [3, "taken", 4, "missing", 101]


def main(ray):
    @ray.remote
    class Counter:
        def __init__(self, n=0):
            self.n = n

        def add(self):
            self.n += 1
            return self.n

    @ray.remote
    def bump():
        return ray.get(ray.get_actor("tally").add.remote())

    tally = Counter.options(name="tally").remote()
    found = [max(ray.get([bump.remote() for _ in range(3)]))]
    try:
        Counter.options(name="tally").remote()
    except ValueError:
        found.append("taken")
    found.append(ray.get(Counter.options(name="tally", get_if_exists=True).remote().add.remote()))
    ray.kill(tally)
    try:
        ray.get_actor("tally")
    except ValueError:
        found.append("missing")
    again = Counter.options(name="tally").remote(100)
    found.append(ray.get(bump.remote()))
    del again
    return found
