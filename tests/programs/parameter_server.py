"""The seed program: an actor holds the parameters, two workers update them, the driver polls until they are done."""

import time

import numpy as np

EXPECTED = [200.0] * 10


def main(ray, second=1.0):
    @ray.remote
    class ParameterServer:
        def __init__(self, dim):
            self.params = np.zeros(dim)

        def get_params(self):
            return self.params

        def update_params(self, grad):
            self.params = self.params + grad

    @ray.remote
    def worker(ps):
        for _ in range(100):
            ray.get(ps.get_params.remote())
            time.sleep(0.2 * second)
            ps.update_params.remote(np.ones(10))

    ps = ParameterServer.remote(10)
    workers = [worker.remote(ps) for _ in range(2)]
    while ray.wait(workers, num_returns=2, timeout=0)[1] or ray.get(ps.get_params.remote()).sum() < 2000:
        time.sleep(1 * second)
        ray.get(ps.get_params.remote())
    return ray.get(ps.get_params.remote()).tolist()
