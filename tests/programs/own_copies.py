"""What travels by value is a copy in each process: classes, globals, closures; what has changed since is new there."""

import enum

EXPECTED = {
    "closures": [0, 1, 2],
    "changed": [1, 2, "new"],
    "copies": [[11, 1], [21, 2], [11, 1]],
    "mine": (1, []),
    "identity": [True, True, True, True],
    "redefined": [0, 1, 2],
    "defaults": 0,
    "name": "main.<locals>.Model",
}


def main(ray):
    class Model:
        factor = 1
        seen = []  # noqa: RUF012

        def value(self):
            return self.factor

    class Colour(enum.Enum):
        RED = 1

    @ray.remote
    def value_of(model):
        return model.value()

    @ray.remote
    def name_of(model):
        return type(model).__qualname__

    @ray.remote
    class Keeper:
        def __init__(self):
            self.model = Model()
            self.colour = Colour.RED

        def change(self):
            Model.factor += 10
            Model.seen.append(None)
            return [Model.factor, len(Model.seen)]

        def give(self):
            return self.model, self.colour

        def knows(self, model, colour):
            return type(model) is Model and colour is self.colour

        def make(self):
            class Local:
                pass

            self.local = Local
            return Local()

        def made(self, thing):
            return type(thing) is self.local

    def closures():
        refs = []
        for x in range(3):

            @ray.remote
            class Late:
                def value(self):
                    return x  # noqa: B023

            refs.append(Late.remote().value.remote())
        return ray.get(refs)

    def grow(items=[]):  # noqa: B006
        items.append(1)

    def redefined(number):
        class Model:
            def value(self):
                return number

        return Model()

    a, b = Keeper.remote(), Keeper.remote()
    copies = ray.get([a.change.remote(), a.change.remote(), b.change.remote()])
    mine = Model.factor, Model.seen
    changed = [ray.get(value_of.remote(Model()))]
    Model.factor = 2
    changed.append(ray.get(value_of.remote(Model())))
    Model.value = lambda self: "new"
    changed.append(ray.get(value_of.remote(Model())))
    model, colour = ray.get(a.give.remote())
    ray.get(ray.remote(grow).remote())
    return {
        "closures": closures(),
        "changed": changed,
        "copies": copies,
        "mine": mine,
        "identity": [
            type(model) is Model,
            colour is Colour.RED,
            ray.get(b.knows.remote(model, colour)),
            ray.get(a.made.remote(ray.get(a.make.remote()))),
        ],
        "redefined": [ray.get(value_of.remote(redefined(number))) for number in range(3)],
        "defaults": len(grow.__defaults__[0]),
        "name": ray.get(name_of.remote(Model())),
    }
