"""Count words: every mapper returns a part for each reducer, every reducer takes its part of each."""

from collections import Counter
from zlib import crc32

TEXTS = ["the cat and the dog", "a dog and a bone", "the bone of the cat", "and so on and on"]
EXPECTED = dict(Counter(" ".join(TEXTS).split()))
REDUCERS = 3


def main(ray):
    reducers, part_of = REDUCERS, crc32

    @ray.remote(num_returns=reducers)
    def count(text):
        parts = [Counter() for _ in range(reducers)]
        for word in text.split():
            parts[part_of(word.encode()) % reducers][word] += 1
        return parts

    @ray.remote
    def merge(*parts):
        return sum(parts, Counter())

    mapped = [count.remote(text) for text in TEXTS]
    merged = [merge.remote(*parts) for parts in zip(*mapped, strict=True)]
    return dict(sum(ray.get(merged), Counter()))
