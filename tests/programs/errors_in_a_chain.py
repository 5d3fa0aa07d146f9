"""An error comes out at the far end of a chain as what it was, and nothing on the way runs."""

PINNED = ("d-0.0",)
EXPECTED = ["KeyError 'lost' 42 True", 0, "KeyError", [1, "ready"], "unlucky"]


def main(ray):
    class Lost(KeyError):
        def __init__(self, what, code):
            super().__init__(what)
            self.code = code

        def __reduce__(self):
            return Lost, (self.args[0], self.code)

    @ray.remote
    class Log:
        def __init__(self):
            self.n = 0

        def note(self):
            self.n += 1

        def count(self, after=None):
            return self.n

        def fail(self):
            raise RuntimeError("unlucky")

    log = Log.remote()

    @ray.remote
    def bad():
        raise Lost("lost", 42)

    @ray.remote
    def use(value):
        ray.get(log.note.remote())
        return value

    @ray.remote
    def outer():
        return ray.get(bad.remote())

    ref = bad.remote()
    for _ in range(5):
        ref = use.remote(ref)
    try:
        ray.get(ref)
    except KeyError as error:
        both = isinstance(error, ray.exceptions.RayTaskError)
        results = [f"KeyError {error.args[0]!r} {error.code} {both}"]
    results.append(ray.get(log.count.remote()))
    try:
        ray.get(outer.remote())
    except KeyError:
        results.append("KeyError")
    ready, _ = ray.wait([ref])
    results.append([len(ready), "ready"])
    try:
        ray.get(log.fail.remote())
    except RuntimeError as error:
        results.append(error.args[0])
    return results
