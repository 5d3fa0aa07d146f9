"""An actor asks another, which asks a third; and one that makes an actor of its own."""

EXPECTED = [111, 112, 7]


def main(ray):
    @ray.remote
    class Link:
        def __init__(self, step, behind=None):
            self.step, self.behind = step, behind

        def ask(self, n):
            n += self.step
            return n if self.behind is None else ray.get(self.behind.ask.remote(n))

    @ray.remote
    class Parent:
        def __init__(self):
            self.child = Link.remote(4)

        def through(self, n):
            return ray.get(self.child.ask.remote(n))

    last = Link.remote(100)
    middle = Link.remote(10, last)
    first = Link.remote(1, behind=middle)
    answers = ray.get([first.ask.remote(0), first.ask.remote(1)])
    return [*answers, ray.get(Parent.remote().through.remote(3))]
