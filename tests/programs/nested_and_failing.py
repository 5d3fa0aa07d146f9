"""Tasks that start tasks, of which some fail: what is caught is caught, what is not comes out at the top."""

EXPECTED = [[0, "odd 1", 2, "odd 3"], "odd 5", "stopped at 2"]


def main(ray):
    @ray.remote
    def even(n):
        if n % 2:
            raise ValueError(f"odd {n}")
        return n

    @ray.remote
    def safe(n):
        try:
            return ray.get(even.remote(n))
        except ValueError as error:
            return error.args[0]

    @ray.remote
    def unsafe(n):
        return ray.get(even.remote(n))

    @ray.remote
    class Walker:
        def walk(self, limit):
            for n in range(0, 10, 2):
                if ray.get(even.remote(n)) >= limit:
                    raise StopIteration(f"stopped at {n}")

    results = [ray.get([safe.remote(n) for n in range(4)])]
    try:
        ray.get(unsafe.remote(5))
    except ValueError as error:
        results.append(error.args[0])
    try:
        ray.get(Walker.remote().walk.remote(2))
    except ray.exceptions.RayTaskError as error:  # itself it would end any iteration that this is part of
        results.append(error.cause.args[0])
    return results
