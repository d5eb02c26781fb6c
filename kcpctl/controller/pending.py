"""Read-your-writes: keys whose caches have not seen yet what their last run wrote (CS)."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Sequence
from typing import Final, Protocol, runtime_checkable

from kcpctl.client import Write
from kcpctl.informers import Cache
from kcpctl.runtime import get_logger
from kcpctl.workqueue.keys import cluster_of_key

__all__ = ["Informer", "PendingWrites"]

_log = get_logger(__name__)

# A server that was restored from a backup, or that sends neither event nor bookmark, would hold a
# key for ever. A watch that works delivers within a second.
_LIMIT_SECONDS: Final = 30.0
# So many keys, or twice as many as last time, are looked through for those that wait no more.
_SWEPT_FROM: Final = 64
_VERSION: Final = re.compile(r"[1-9][0-9]*")


@runtime_checkable
class Informer(Protocol):
    """What is asked of an informer. Any thread."""

    @property
    def spans_clusters(self) -> bool:
        """Whether objects of many logical clusters come."""

    def cache_of(self, write: Write) -> Cache | None:
        """Return what will have seen a write when its version is reached, None if nothing will."""


class _Awaited:
    """The newest write of a key that one cache has to show, and where the cache stood then."""

    __slots__ = ("began_at", "cache", "write")

    def __init__(self, cache: Cache, write: Write) -> None:
        self.cache = cache
        self.write = write
        self.began_at = cache.resource_version

    def take(self, write: Write) -> None:
        """Keep the newer one of two (CS-01); of two objects of a name it is the later one."""
        mine = self.write
        same_name = (mine.url, mine.namespace, mine.name) == (
            write.url,
            write.namespace,
            write.name,
        )
        replaces = same_name and mine.uid != write.uid
        if replaces or is_behind(mine.resource_version, write.resource_version):
            self.write = write

    @property
    def is_missing(self) -> bool:
        """Whether the cache is still to show the write.

        One that has gone back shows a server that was restored: its versions start anew.
        """
        now = self.cache.resource_version
        return is_behind(now, self.write.resource_version) and not is_behind(now, self.began_at)


class _Pending:
    __slots__ = ("awaited", "held_since")

    def __init__(self, awaited: list[_Awaited]) -> None:
        self.awaited = awaited
        self.held_since: float | None = None

    @property
    def is_ready(self) -> bool:
        return not any(one.is_missing for one in self.awaited)


class PendingWrites:
    """What each key wrote in its last run, for as long as a cache has not seen it.

    A reconciler that reads a cache older than its own writes does them again: it creates a second
    object, or fails on a conflict. So a key is not ready for its next run before each cache that
    shows what it wrote has reached the largest version that it wrote there (CS-01 to CS-03).

    In doubt a key is ready (CS-04): no cache shows the object, the cache has no version yet, or
    versions are no numbers. No key is held for longer than 30 seconds in all; then it goes on, with
    a warning. Nothing is kept of a key that is ready (CS-05).

    ``record``, ``is_ready`` are for the worker that has the key; ``remove_clusters`` may be called
    from any thread at any time.
    """

    def __init__(self, controller: str) -> None:
        self._controller = controller
        self._informers: tuple[Informer, ...] = ()
        self._lock = threading.Lock()
        # Guarded by _lock; that a key is not in it may be seen without.
        self.by_key: dict[str, _Pending] = {}
        self._sweep_at_length = _SWEPT_FROM

    def watch(self, informer: Informer) -> None:
        """Let keys wait for this informer too."""
        if informer not in self._informers:
            self._informers += (informer,)

    def record(self, key: str, writes: Sequence[Write]) -> None:
        """Take what a run of ``key`` wrote."""
        awaited: dict[int, _Awaited] = {}
        for write in writes:
            for informer in self._informers:
                if (cache := informer.cache_of(write)) is not None:
                    held = awaited.setdefault(id(cache), _Awaited(cache, write))
                    held.take(write)
        pending = _Pending(list(awaited.values()))
        if pending.is_ready:
            return
        with self._lock:
            self.by_key[key] = pending
            if len(self.by_key) >= self._sweep_at_length:
                for other in [key for key, one in self.by_key.items() if one.is_ready]:
                    del self.by_key[other]
                self._sweep_at_length = max(2 * len(self.by_key), _SWEPT_FROM)

    def is_ready(self, key: str, now: float) -> bool:
        """Whether ``key`` may run; if so, what it wrote is forgotten."""
        pending = self.by_key.get(key)
        if pending is None:
            return True
        if not pending.is_ready:
            if pending.held_since is None:
                pending.held_since = now
            if now - pending.held_since < _LIMIT_SECONDS:
                return False
            _warn(self._controller, key, pending)
        self.forget(key)
        return True

    def forget(self, key: str) -> None:
        """Drop what is known of a key."""
        with self._lock:
            self.by_key.pop(key, None)

    def remove_clusters(self, names: Collection[str]) -> None:
        """Drop what is known of the keys of logical clusters."""
        with self._lock:
            for key in [key for key in self.by_key if cluster_of_key(key) in names]:
                del self.by_key[key]


def is_behind(version: str, other: str) -> bool:
    """Whether a version is smaller than another; False unless both are well-formed (CS-07).

    Numbers of any length, without leading zeros: the shorter one is smaller.
    """
    if not (_VERSION.fullmatch(version) and _VERSION.fullmatch(other)):
        return False
    return (len(version), version) < (len(other), other)


def _warn(controller: str, key: str, pending: _Pending) -> None:
    late = next((one for one in pending.awaited if one.is_missing), pending.awaited[0])
    _log.warning(
        "A cache has not shown what was written; going on without it",
        controller=controller,
        key=key,
        resource=late.write.resource.group_resource,
        object=late.write.name,
        written=late.write.resource_version,
        cached=late.cache.resource_version,
        seconds=_LIMIT_SECONDS,
    )
