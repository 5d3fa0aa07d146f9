"""A tree of sums: refs as arguments, no values in the driver until the end."""

EXPECTED = sum(range(64))


def main(ray):
    @ray.remote
    def leaf(n):
        return n

    @ray.remote
    def add(left, right):
        return left + right

    refs = [leaf.remote(n) for n in range(64)]
    while len(refs) > 1:
        refs = [add.remote(left, right) for left, right in zip(refs[::2], refs[1::2], strict=True)]
    return ray.get(refs[0])
