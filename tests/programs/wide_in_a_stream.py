"""A task that asks for all of a node begins, though the stream of those that fit beside each other never ends."""

import time

WITHOUT = ("inline",)  # where a task runs when it is waited for, whatever it asks for
EXPECTED = [True, True]


def main(ray, second=1.0):
    first = {f"node:{ray.nodes()[0]['NodeID']}": 0.001}

    @ray.remote(num_cpus=0, resources={**first, "tape": 1})
    def narrow(i):
        time.sleep((1.0 + 0.1 * (i % 5)) * second)
        return i

    @ray.remote(num_cpus=0, resources={**first, "tape": 2})
    def wide():
        return True

    flight = [narrow.remote(i) for i in range(6)]
    big, later = wide.remote(), 0
    while later < 300:
        done, _ = ray.wait([*flight, big], num_returns=1)
        if big in done:
            break
        flight = [ref for ref in flight if ref not in done]
        while len(flight) < 6:
            flight.append(narrow.remote(later))
            later += 1
    ray.get(flight)
    return [ray.get(big), later < 300]
