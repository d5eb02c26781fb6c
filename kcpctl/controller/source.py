"""Sources: an informer's events, turned into keys on a queue."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from kcpctl.controller.mapping import MapFunction, own_key
from kcpctl.controller.predicates import Predicate
from kcpctl.informers import CachedObject, EventHandler, Registration
from kcpctl.workqueue import LOW_PRIORITY, RateLimitingQueue

__all__ = ["EnqueueHandler", "HasLister", "Lists", "Source"]


class Source(Protocol):
    """What a controller needs of an informer."""

    @property
    def description(self) -> str:
        """What it watches, for messages."""

    def add_handler(self, handler: EventHandler, *, resync_seconds: float = 0.0) -> Registration:
        """Deliver events, beginning with an add for each object that is there already."""


class Lists(Protocol):
    """What a controller needs of a lister. Any thread."""

    def cached_by_index(self, name: str, value: str) -> list[CachedObject]:
        """Return the objects that an index has under ``value``."""


@runtime_checkable
class HasLister(Protocol):
    """An informer whose objects can be listed."""

    @property
    def lister(self) -> Lists:
        """Its lister."""


class EnqueueHandler:
    """Adds the keys that an event is about to a queue. Runs on the I/O thread, never blocks.

    The initial list and resyncs are no news: they come with low priority (PQ-09), and stay behind
    what happens meanwhile if the queue's ordering knows priorities.
    """

    def __init__(
        self,
        queue: RateLimitingQueue[str],
        *,
        map_to: MapFunction,
        predicates: tuple[Predicate, ...],
    ) -> None:
        self.name = queue.name
        self._queue = queue
        self._map_to = map_to
        self._predicates = predicates

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Enqueue for an object that came."""
        self._enqueue(None, obj, LOW_PRIORITY if is_initial else 0)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Enqueue for an object that changed.

        A new spec is a new try: the failures of the old one do not delay it.
        """
        if self._map_to is own_key and old.generation != new.generation:
            self._queue.forget(new.key)
        resync = old.resource_version == new.resource_version
        self._enqueue(old, new, LOW_PRIORITY if resync else 0)

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Enqueue for an object that went."""
        self._enqueue(obj, None, 0)

    def _enqueue(self, old: CachedObject | None, new: CachedObject | None, priority: int) -> None:
        for predicate in self._predicates:
            if not predicate(old, new):
                return
        if self._map_to is own_key:
            # Both have the same key. This takes a quarter of the time.
            if (obj := new or old) is not None:
                self._queue.add(obj.key, priority)
            return
        keys: dict[str, None] = {}
        # An object that moved from one owner to another concerns both.
        for obj in (old, new):
            if obj is not None:
                keys.update(dict.fromkeys(self._map_to(obj)))
        for key in keys:
            self._queue.add(key, priority)
