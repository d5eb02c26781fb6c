"""The syncers' Deployments as their clusters show them: one list and watch for each."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kcpctl.apis.resource import DEPLOYMENTS
from kcpctl.client import Client
from kcpctl.errors import NotFound
from kcpctl.informers import CachedObject, SharedInformer
from kcpctl.reconcilers.synctarget.rollout import Rollout
from kcpctl.runtime import SYSTEM_RANDOM, Clock, IOLoop, TaskSet

__all__ = ["RolloutWatch"]


@dataclass(eq=False)
class _Watched:
    """One Deployment under watch. What changes is guarded by the lock of the RolloutWatch.

    ``seen`` is what the watch says; ``applied`` what a write answered that the watch has not
    caught up with.
    """

    client: Client
    namespace: str
    name: str
    informer: SharedInformer[dict[str, Any]]
    task: asyncio.Task[None] | None = None
    seen: Rollout | None = None
    applied: Rollout | None = None


class RolloutWatch:
    """Tells how far each syncer's Deployment is, without asking for it again and again.

    ``observe`` starts the watch; until that has its first list, it reads the Deployment itself.
    Afterwards it costs no request, and ``on_change`` (called with the key, on the I/O thread)
    says when there is news. Reads follow one's own writes, see ``applied``. A key has one watch
    at most; another client, namespace or name replaces it. ``stop`` and ``close`` return when the
    watch has ended. Call all of it from worker threads only, and one key from one at a time.
    """

    def __init__(
        self,
        io_loop: IOLoop,
        on_change: Callable[[str], None],
        *,
        clock: Clock,
        rng: random.Random = SYSTEM_RANDOM,
    ) -> None:
        self._io_loop = io_loop
        self._on_change = on_change
        self._clock = clock
        self._rng = rng
        self._tasks = TaskSet("syncer rollouts")
        self._lock = threading.Lock()
        # Guarded by _lock for writing; single look-ups are atomic.
        self._watched: dict[str, _Watched] = {}

    def observe(self, key: str, client: Client, namespace: str, name: str) -> Rollout | None:
        """Return the state of the Deployment, None if it does not exist."""
        watched = self._watched.get(key)
        if watched is None or (watched.client, watched.namespace, watched.name) != (
            client,
            namespace,
            name,
        ):
            self.stop(key)
            watched = self._start(key, client, namespace, name)
        with self._lock:
            if watched.applied is not None:
                return watched.applied
            if watched.informer.synced:
                return watched.seen
        try:
            return Rollout.of(client.resource(DEPLOYMENTS).get(name, namespace=namespace))
        except NotFound:
            return None

    def applied(self, key: str, deployment: Mapping[str, Any]) -> Rollout:
        """Take what the server answered to a write, unless the watch is as far already."""
        rollout = Rollout.of(deployment)
        with self._lock:
            watched = self._watched.get(key)
            if watched is not None and not _covers(watched.seen, rollout):
                watched.applied = rollout
        return rollout

    def stop(self, key: str) -> None:
        """End the watch of a key; nothing happens without one."""
        if key not in self._watched:  # the usual case, in each pass: no lock for it
            return
        with self._lock:
            watched = self._watched.pop(key, None)
        if watched is not None and watched.task is not None:
            self._io_loop.run(_end(watched.task))

    def remove(self, belongs: Callable[[str], bool]) -> None:
        """End the watches of all keys that belong, without waiting for it. Any thread."""
        with self._lock:
            gone = [self._watched.pop(key) for key in list(self._watched) if belongs(key)]
        for watched in gone:
            if watched.task is not None:
                self._io_loop.call(watched.task.cancel)

    def close(self) -> None:
        """End every watch."""
        with self._lock:
            self._watched.clear()
        self._io_loop.run(self._tasks.close())

    def __len__(self) -> int:
        return len(self._watched)

    def _start(self, key: str, client: Client, namespace: str, name: str) -> _Watched:
        informer = SharedInformer(
            client.aio,
            DEPLOYMENTS,
            dict,
            namespace=namespace,
            field_selector=f"metadata.name={name}",
            clock=self._clock,
            rng=self._rng,
            # One object at most: a list of it is as cheap, and every server has lists.
            streaming=False,
        )
        watched = _Watched(client, namespace, name, informer)
        informer.add_handler(_Handler(lambda obj: self._changed(key, watched, obj)))
        with self._lock:
            self._watched[key] = watched
        task = self._io_loop.run(self._spawn(informer, key))
        with self._lock:
            watched.task = task
            removed = self._watched.get(key) is not watched
        if removed:
            self._io_loop.call(task.cancel)
        return watched

    async def _spawn(self, informer: SharedInformer[Any], key: str) -> asyncio.Task[None]:
        return self._tasks.spawn(informer.run(), name=key)

    def _changed(self, key: str, watched: _Watched, obj: CachedObject | None) -> None:
        rollout = None if obj is None else Rollout.of(obj.decode())
        with self._lock:
            if self._watched.get(key) is not watched:
                return
            news = rollout != watched.seen
            watched.seen = rollout
            if rollout is None or (watched.applied and _covers(rollout, watched.applied)):
                watched.applied = None
        if news:
            self._on_change(key)


def _covers(seen: Rollout | None, applied: Rollout) -> bool:
    """Whether what the watch says is not older than what a write answered."""
    return seen is not None and seen.uid == applied.uid and seen.generation >= applied.generation


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


class _Handler:
    """Hands on the object there is after each event."""

    def __init__(self, changed: Callable[[CachedObject | None], None]) -> None:
        self._changed = changed

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self._changed(obj)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self._changed(new)

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self._changed(None)
