"""Each node offers node:<its name>: a task or an actor that asks for it runs there. An affinity does the same."""

EXPECTED = [True, True, True]


def main(ray):
    @ray.remote
    def where():
        return ray.put(None).ref.owner  # the node where it was put

    @ray.remote
    class Here:
        def where(self):
            return ray.put(None).ref.owner

    names = [node["NodeID"] for node in ray.nodes()]
    tasks = [where.options(resources={f"node:{name}": 0.5}).remote() for name in names]
    actors = [Here.options(num_cpus=0, resources={f"node:{name}": 0.5}).remote() for name in names]
    strategies = [ray.NodeAffinitySchedulingStrategy(name) for name in names]
    affine = [where.options(scheduling_strategy=strategy).remote() for strategy in strategies]
    places = [ray.get(tasks), ray.get([actor.where.remote() for actor in actors]), ray.get(affine)]
    return [place == names for place in places]
