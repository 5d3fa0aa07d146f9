"""Nested tasks: each call waits for two more, so each must lend its CPU."""

EXPECTED = 34


def main(ray):
    @ray.remote
    def fib(n):
        if n < 2:
            return n
        return sum(ray.get([fib.remote(n - 1), fib.remote(n - 2)]))

    return ray.get(fib.remote(9))
