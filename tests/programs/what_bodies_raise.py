"""Whatever a body raises is its task's error and arrives whole: no Exceptions, classes that object, refs inside."""

EXPECTED = [
    *(
        ["RayTaskError", name]
        for name in ("KeyboardInterrupt", "GeneratorExit", "StopIteration", "CancelledError")
    ),
    ["Abort", "Abort"],
    ["pong", "the iteration did not end"],
    ["Two", 7, "KeyError('k')", ["seen"], "first, then"],
    ["RayTaskError", "isn't serializable", True],
    ["RayTaskError", "Final"],
    ["Carrier", "kept", 1],
    ["WorkerCrashedError", "RayTaskError"],
]


def main(ray):
    import asyncio
    import threading

    class Abort(BaseException):
        pass

    class Two(Exception):
        def __init__(self, code, where):
            super().__init__(f"{code} at {where}")
            self.code = code

    class Final(Exception):
        def __init_subclass__(cls):
            raise RuntimeError("it is final")

        def __setattr__(self, name, value):
            raise RuntimeError("it is fixed")

    class Locked(Exception):
        def __init__(self):
            self.lock = threading.Lock()

    class Carrier(Exception):
        def __init__(self, *, carried):
            self.carried = carried

    @ray.remote
    class Counter:
        def __init__(self):
            self.n = 0

        def up(self):
            self.n += 1
            return self.n

        def ping(self):
            return "pong"

        def fail(self, error):
            raise error

    @ray.remote(max_retries=0)
    def fail(error):
        raise error

    @ray.remote
    def chained():
        try:
            raise KeyError("k")
        except KeyError as error:
            two = Two(7, "home")
            two.add_note("seen")
            raise two from error

    @ray.remote
    def carry():
        raise Carrier(carried=[ray.put("kept"), Counter.remote()])

    @ray.remote
    def lock():
        raise Locked

    @ray.remote
    def finish():
        raise Final("final")

    @ray.remote(max_retries=0)
    def leave():
        raise SystemExit(1)  # which ends its process

    @ray.remote
    def use(value):
        return value

    def raised(ref):
        try:
            return ray.get(ref)
        except ray.exceptions.RayError as error:
            return error

    results = []
    counter = Counter.remote()
    for kind in (KeyboardInterrupt, GeneratorExit, StopIteration, asyncio.CancelledError):
        error = raised(fail.remote(kind("x")))
        assert type(raised(counter.fail.remote(kind("x"))).cause) is kind
        results.append([type(error).__name__, type(error.cause).__name__])
    error = raised(fail.remote(Abort()))
    results.append(["Abort" if isinstance(error, Abort) else error, type(error.cause).__name__])
    try:
        ended = list(map(ray.get, [fail.remote(StopIteration())]))
    except ray.exceptions.RayTaskError:
        ended = "the iteration did not end"
    results.append([ray.get(counter.ping.remote()), ended])
    try:
        ray.get(chained.remote())
    except Two as error:
        told = str(error)
        order = "first, then" if told.index("KeyError") < told.index("7 at home") else told
        results.append(["Two", error.code, repr(error.__cause__), error.__notes__, order])
    error = raised(lock.remote())
    words = "isn't serializable" if "isn't serializable" in str(error.cause) else str(error.cause)
    task_error = "RayTaskError" if isinstance(error, ray.exceptions.RayTaskError) else error
    results.append([task_error, words, isinstance(error.cause, ray.exceptions.RayError)])
    error = raised(finish.remote())
    results.append([type(error).__name__, type(error.cause).__name__])
    try:
        ray.get(use.remote(carry.remote()))
    except Carrier as error:
        kept, other = error.carried
        results.append(["Carrier", ray.get(kept), ray.get(other.up.remote())])
    error = raised(use.remote(leave.remote()))
    kinds = (ray.exceptions.WorkerCrashedError, ray.exceptions.RayTaskError)
    results.append([kind.__name__ for kind in kinds if isinstance(error, kind)])
    return results
