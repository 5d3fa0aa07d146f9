"""Refs inside values stay refs at any depth, and what they refer to lives as long as they do."""

EXPECTED = [["ObjectRef", 1], [1, 2], {"a": 1, "b": [2, 3]}, 6, [10, 20], "deep"]


def main(ray):
    @ray.remote
    def give(value):
        return value

    @ray.remote
    def look(box):
        return [type(box[0]).__name__, ray.get(box[0])]

    @ray.remote
    def make():
        return [give.remote(10), give.remote(20)]

    @ray.remote
    def nest(depth):
        return "deep" if depth == 0 else [nest.remote(depth - 1)]

    one, two, three = give.remote(1), ray.put(2), give.remote(ray.put(3))
    results = [ray.get(look.remote([one]))]
    results.append(ray.get(ray.get(ray.put([one, two]))))
    box = ray.get(give.remote({"a": one, "b": [two, three]}))
    results.append({"a": ray.get(box["a"]), "b": ray.get(box["b"])})
    results.append(sum(ray.get(list(ray.get(give.remote((one, two, three)))))))
    results.append(ray.get(ray.get(make.remote())))
    value = nest.remote(4)
    while not isinstance(value, str):
        value = ray.get(value[0] if isinstance(value, list) else value)
    return [*results, value]
