"""The wait loop: take results as they come, and never have more than three under way."""

import time

EXPECTED = [n * n for n in range(20)]


def main(ray, second=1.0):
    @ray.remote
    def square(n):
        time.sleep((n % 4) * 0.1 * second)
        return n * n

    todo, running, results = list(range(20)), [], []
    while todo or running:
        while todo and len(running) < 3:
            running.append(square.remote(todo.pop()))
        ready, running = ray.wait(running, num_returns=1, timeout=600)
        assert len(ready) == 1
        results.append(ray.get(ready[0]))
    return sorted(results)
