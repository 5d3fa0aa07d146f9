"""A chain of 300 tasks, a task with 200 arguments, and a get of 500 results."""

EXPECTED = [300, sum(range(200)), list(range(500))]


def main(ray):
    @ray.remote
    def step(n):
        return n + 1

    @ray.remote
    def same(n):
        return n

    @ray.remote
    def total(*numbers):
        return sum(numbers)

    ref = 0
    for _ in range(300):
        ref = step.remote(ref)
    wide = total.remote(*[same.remote(n) for n in range(200)])
    return [*ray.get([ref, wide]), ray.get([same.remote(n) for n in range(500)])]
