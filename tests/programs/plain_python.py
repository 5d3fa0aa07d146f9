"""What people write: helpers defined late, inheritance, class attributes, defaults, keywords, closures, globals."""

EXPECTED = [9, 16, [1, 2, (), {}], [5, 2, (3, 4), {"e": 6}], "Dog says woof, of Animal", 12, "later"]
SCALE = 4


def times(n):
    return n * SCALE


def main(ray):
    @ray.remote
    def square(n):
        return power(n, 2)

    def power(n, k):
        return n**k

    @ray.remote
    def scaled(n):
        return times(n)

    @ray.remote
    def shape(a, b=2, *rest, **more):
        return [a, b, rest, more]

    class Animal:
        noise = "..."

        def speak(self):
            return f"{type(self).__name__} says {self.noise}, of {self.kind()}"

        @classmethod
        def kind(cls):
            return cls.__mro__[1].__name__

    class Dog(Animal):
        noise = "woof"

    offset = 7

    @ray.remote
    class Adder:
        def __init__(self, *, start=0):
            self.n = start

        def __call__(self, k):
            self.n += k + offset
            return self.n

    late = ray.remote(lambda: word)
    word = "later"
    results = [ray.get(square.remote(3)), ray.get(scaled.remote(4))]
    results += [ray.get(shape.remote(1)), ray.get(shape.remote(5, 2, 3, 4, e=6))]
    results.append(ray.get(ray.remote(Dog).remote().speak.remote()))
    results.append(ray.get(Adder.remote(start=2).__call__.remote(3)))
    return [*results, ray.get(late.remote())]
