"""A keyword argument may have any name that the function allows, those of labray's own parameters too."""

NAMES = (
    "self",
    "cls",
    "this",
    "args",
    "kwargs",
    "name",
    "function",
    "port",
    "options",
    "given",
    "ref",
    "timeout",
)
EXPECTED = [{name: at for at, name in enumerate(NAMES)}] * 3 + [{"self": 1, "cls": [2]}]


def main(ray):
    @ray.remote
    def task(**named):
        return named

    @ray.remote
    class Actor:
        def __init__(this, /, **named):
            this.named = named

        def made_with(this):
            return this.named

        def method(this, /, **named):
            return named

    named = {name: at for at, name in enumerate(NAMES)}
    actor = Actor.remote(**named)
    refs = [task.remote(**named), actor.made_with.remote(), actor.method.remote(**named)]
    refs.append(task.options(num_cpus=1).remote(self=1, cls=[2]))
    return ray.get(refs)
