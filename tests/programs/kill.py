"""A killed actor: what it had done stays done, what comes later fails, and the error says who killed it."""

EXPECTED = [1, "killed", "died", "died", 2]


def main(ray):
    @ray.remote
    class Counter:
        def __init__(self):
            self.n = 0

        def add(self):
            self.n += 1
            return self.n

        def add_on(self, value):
            return self.n + value

    @ray.remote
    def ask(counter):
        return ray.get(counter.add.remote())

    def ended(ref):
        try:
            return ray.get(ref)
        except ray.exceptions.ActorDiedError as error:
            return "killed" if "killed by" in str(error) else str(error)
        except ray.exceptions.RayActorError as error:
            return str(error)

    victim, other = Counter.remote(), Counter.remote()
    before = victim.add.remote()
    results = [ray.get(before)]
    ray.kill(victim)
    results.append(ended(victim.add.remote()))
    for call in (victim.add_on.remote(before), ask.remote(victim)):
        try:
            results.append(ray.get(call))
        except ray.exceptions.RayError:
            results.append("died")
    ray.get(other.add.remote())
    return [*results, ray.get(other.add.remote())]
