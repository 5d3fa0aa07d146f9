"""now, sleep and spend, in the driver and in tasks: time passes as asked, whatever time is here."""

EXPECTED = [True, True, True, True]


def main(ray, second=1.0):
    @ray.remote
    def nap(seconds):
        before = ray.now()
        ray.sleep(seconds)
        return before, ray.now()

    @ray.remote
    def burn(seconds):
        before = ray.now()
        ray.spend(seconds)
        return ray.now() - before

    before = ray.now()
    ray.sleep(0.5 * second)
    begun, ended = ray.get(nap.remote(1.0 * second))
    after = ray.now()
    ordered = before <= begun <= ended <= after
    least = 0.999 * second
    return [
        ordered,
        ended - begun >= least,
        after - before >= 1.5 * least,
        ray.get(burn.remote(second)) >= least,
    ]
