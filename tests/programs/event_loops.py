"""What tasks do with the standard library's clocks, event loops and queues, in whatever time is here."""

import asyncio
import datetime
import queue
import random
import time
import uuid

EXPECTED = {"naps": [3, 1, 2], "queue": True, "clocks": True, "draws": [True, True], "seeded": True}


def main(ray, second=1.0):
    @ray.remote
    def naps():
        order = []

        async def nap(number):
            await asyncio.sleep(number % 3 * second / 2)
            order.append(number)

        async def all_of_them():
            await asyncio.gather(*(nap(number) for number in (1, 2, 3)))

        asyncio.run(all_of_them())
        return order

    @ray.remote
    def empty_queue():
        before = time.monotonic()
        try:
            queue.Queue().get(timeout=second)
        except queue.Empty:
            return time.monotonic() - before >= 0.99 * second

    @ray.remote
    def clocks():
        before, now = time.time(), datetime.datetime.now()
        time.sleep(second / 10)
        after = datetime.datetime.now().timestamp()
        return before - 1e-5 <= now.timestamp() < after - 0.99 * second / 10 and after <= time.time() + 1e-5

    @ray.remote
    def draw():
        return random.random(), str(uuid.uuid4())

    @ray.remote
    class Dice:
        def __init__(self):
            random.seed(6)

        def roll(self):
            return random.random()

    drawn = ray.get([draw.remote() for _ in range(5)])
    dice, known = Dice.remote(), random.Random(6)
    return {
        "naps": ray.get(naps.remote()),
        "queue": ray.get(empty_queue.remote()),
        "clocks": ray.get(clocks.remote()),
        "draws": [len({row[at] for row in drawn}) == 5 for at in (0, 1)],
        "seeded": ray.get([dice.roll.remote() for _ in range(3)]) == [known.random() for _ in range(3)],
    }
