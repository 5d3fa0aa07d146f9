"""The seed program in two shards: each server holds five parameters, each worker talks to both."""

import time

import numpy as np

EXPECTED = [[200.0] * 5, [200.0] * 5]


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
    def sharded_worker(*servers):
        for _ in range(100):
            shards = ray.get([server.get_params.remote() for server in servers])
            time.sleep(0.2 * second)
            for server, shard in zip(servers, shards, strict=True):
                server.update_params.remote(np.ones(len(shard)))

    servers = [ParameterServer.remote(5) for _ in range(2)]
    for _ in range(2):
        sharded_worker.remote(*servers)
    while True:
        shards = [params.tolist() for params in ray.get([s.get_params.remote() for s in servers])]
        if shards == EXPECTED:
            return shards
        time.sleep(1 * second)
