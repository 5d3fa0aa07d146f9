"""A class's own are reached through its decorated name, everywhere; a method is the class's, whatever shadows it."""

EXPECTED = [[5, 6, [5, 6], 7]] * 3 + [7, 7, "static 1", "no attribute"]


def main(ray):
    class Parent:
        INHERITED = 5

    @ray.remote
    class Child(Parent):
        OWN = 6

        def __init__(self):
            self.content = 7

        @classmethod
        def both(cls):
            return [cls.INHERITED, cls.OWN]

        @staticmethod
        def seven():
            return 7

        def read(self):
            return [Child.INHERITED, Child.OWN, Child.both(), Child.seven()]

        def content(self):
            return self.content

    @ray.remote
    def elsewhere():
        return [Child.INHERITED, Child.OWN, Child.both(), Child.seven()]

    @ray.remote
    class Shadow:
        def __init__(self):
            self.static = self.bound = lambda *_: "shadow"

        @staticmethod
        def static(n):
            return f"static {n}"

    child = Child.remote()
    results = [[Child.INHERITED, Child.OWN, Child.both(), Child.seven()]]
    results += ray.get(
        [child.read.remote(), elsewhere.remote(), child.content.remote(), child.seven.remote()]
    )
    results.append(ray.get(Shadow.remote().static.remote(1)))
    try:
        return [*results, Child.unknown]
    except AttributeError as error:
        return [*results, "no attribute" if "'unknown'" in str(error) else str(error)]
