"""Telling events that come again from news (pitfall 7)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from kcpctl.informers.objects import CachedObject, is_older

__all__ = ["Replays"]

# As many deletions are remembered; an event repeats what came shortly before.
_REMEMBERED: Final = 1000


class Replays:
    """Knows what an object can no longer be, so that a repeated event does not bring it back.

    Whether an event is older than what is stored is seen by its object. When nothing is stored, an
    add may be of an object whose deletion was seen already: one of before the last full state, or
    one with the uid of an object deleted since. Uids do not come again. One owner.
    """

    __slots__ = ("_deleted", "_state_version")

    def __init__(self) -> None:
        self._state_version = ""
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def state(self, version: str) -> None:
        """Note that everything up to ``version`` is known."""
        self._state_version = version
        self._deleted.clear()

    def deleted(self, obj: CachedObject) -> None:
        """Note the deletion of an object."""
        if obj.uid:
            self._deleted[obj.uid] = None
            if len(self._deleted) > _REMEMBERED:
                self._deleted.popitem(last=False)

    def is_replay(self, obj: CachedObject) -> bool:
        """Whether an add or update, older than the last one, tells of what is over."""
        if obj.uid in self._deleted:
            return True
        return is_older(obj.resource_version, self._state_version)
