"""A product of matrices in blocks, each block a put, each block of the result a task over a row and a column."""

import numpy as np

SIZE, BLOCKS = 120, 3
EXPECTED = True


def main(ray):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (2, SIZE, SIZE))

    def cut(matrix):
        return [[ray.put(block) for block in np.hsplit(row, BLOCKS)] for row in np.vsplit(matrix, BLOCKS)]

    @ray.remote
    def dot(*blocks):
        half = len(blocks) // 2
        return sum(x @ y for x, y in zip(blocks[:half], blocks[half:], strict=True))

    left, right = cut(a), cut(b)
    refs = [
        [dot.remote(*row, *[right[k][column] for k in range(BLOCKS)]) for column in range(BLOCKS)]
        for row in left
    ]
    product = np.block([[ray.get(ref) for ref in row] for row in refs])
    return bool((product == a @ b).all())
