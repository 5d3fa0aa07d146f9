"""The probe asks each node of the running session what it holds, and why. It is for tests; programs have no use for it.

held = probe.held()             # now, after the node has been told of this process's dead handles
held = probe.released()         # once nothing is held any more, or a TimeoutError with all that still is
"""

from __future__ import annotations

import gc

from msgspec import Struct

from labray import api, session
from labray.backends.contract import Probed
from labray.client import runtime
from labray.client.refs import ObjectRef
from labray.messages.audit_reports import Held, HeldObject, at_odds

PAUSE_S = 0.01


class Holdings(Struct, frozen=True):
    """What all living nodes hold; the head is one of them."""

    places: tuple[Held, ...]

    def of(self, ref: ObjectRef[object] | str) -> dict[str, HeldObject]:
        """What each node that has an object on record holds of it."""
        id = ref.id if isinstance(ref, ObjectRef) else ref
        return {held.place: each for held in self.places for each in held.objects if each.id == id}

    def at(self, place: str) -> Held:
        """What the node of this name holds; KeyError if there is none."""
        return {str(held.place): held for held in self.places}[place]

    def left(self) -> list[str]:
        """A sentence for each thing that would not be there if nothing were needed any more."""
        return [line for held in self.places for line in (*held.left(), *held.wrong())] or self.at_odds()

    def wrong(self) -> list[str]:
        """A sentence for each object whose count of holds differs from what its holders need."""
        return [line for held in self.places for line in held.wrong()]

    def at_odds(self) -> list[str]:
        """Sentences about owners and borrowers whose counts differ; while messages are under way they may."""
        return at_odds(self.places)

    def waiting(self) -> list[str]:
        """Sentences about everything that waits, at all nodes."""
        return [line for held in self.places for line in held.waiting]


def held() -> Holdings:
    """What each node holds now. NotImplementedError where the backend cannot tell."""
    running = session.running()
    if not isinstance(running, Probed):
        raise NotImplementedError("this backend cannot tell what is held.")
    runtime.current().lookup("")  # the reply comes after all that this process has said before is done
    return Holdings(tuple(running.held()))


def released(timeout: float = 10.0) -> Holdings:
    """Wait until nothing is held anywhere. TimeoutError after so many of the world's seconds, with all that is."""
    gc.collect()  # handles in cycles
    deadline = api.now() + timeout
    while remaining := (found := held()).left():
        if api.now() > deadline:
            more = f"\n  and {len(remaining) - 40} more" if len(remaining) > 40 else ""
            raise TimeoutError(
                f"after {timeout:g} s this is still held:\n  " + "\n  ".join(remaining[:40]) + more
            )
        api.sleep(PAUSE_S)
    return found
