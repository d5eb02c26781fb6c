"""The ground under the registry: commits to the store, and who is told about them."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from kcpctl.embedded.conversion import from_storage, to_storage
from kcpctl.embedded.crds import CRD_KEY
from kcpctl.embedded.database import Database
from kcpctl.embedded.exports.kinds import APIBINDINGS_KEY, APIEXPORTS_KEY
from kcpctl.embedded.kinds import LOGICAL_CLUSTERS_KEY, ResourceInfo
from kcpctl.embedded.kindset import KindSet
from kcpctl.embedded.store import Change, ObjectKey, Store, Stored
from kcpctl.logicalcluster import CLUSTER_ANNOTATION, PATH_ANNOTATION
from kcpctl.runtime import (
    SYSTEM_CLOCK,
    SYSTEM_RANDOM,
    Clock,
    format_time,
    get_logger,
    new_uid,
)

__all__ = ["Backend", "Event"]

Json = dict[str, Any]
_log = get_logger(__name__)
_WITH_PATH: Final = frozenset({APIBINDINGS_KEY, APIEXPORTS_KEY})


@dataclass(frozen=True, slots=True)
class Event:
    """A committed change. ``object`` and ``old`` are stored objects: never modify them."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    info: ResourceInfo
    cluster: str
    namespace: str
    name: str
    object: Json
    old: Json | None


# 2025-01-01T00:00:00Z. A start alone writes hundreds of objects within a second, so versions must
# grow faster than any server writes, or one that is restarted soon starts below the old ones.
_EPOCH_SECONDS = 1_735_689_600
_REVISIONS_PER_SECOND = 10_000


def _first_revision(clock: Clock) -> int:
    """Return where a new server starts to count.

    A restarted server has forgotten all older versions, and without a data directory their
    objects too. It has to start above those it gave out before: a client that comes back with an
    old one is then told that it is too old, and lists again, instead of waiting for changes that
    it takes for seen. With a data directory this also covers what a power cut took.
    """
    return max(1, int((clock.time() - _EPOCH_SECONDS) * _REVISIONS_PER_SECOND))


class Backend:
    """Store, served kinds, clock and randomness, with one way to commit.

    ``hooks`` (the server's own followers, which may commit) run before the subscribers, and both
    run after the commit, in commit order: a commit made by a hook is told after the one that
    caused it. A follower that raises is logged and stops nobody else. With a ``database`` it
    starts with what is in there. ``labels`` puts the server's own labels on each object that is
    about to be stored.
    """

    def __init__(
        self,
        *,
        workspaces: bool,
        database: Database | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
    ) -> None:
        self.workspaces = workspaces
        self.clock = clock
        self.rng = rng
        first = _first_revision(clock)
        if database is not None:
            first = max(first, database.revision + 1)
        self.store = Store(first, database)
        self.kinds = KindSet(workspaces=workspaces)
        if database is not None:
            self._load(database)
        self.hooks: list[Callable[[Event], None]] = []
        self.subscribers: list[Callable[[Event], None]] = []
        self.labels: Callable[[ResourceInfo, str, Json], None] | None = None
        self._events: deque[Event] = deque()
        self._telling = False

    def _load(self, database: Database) -> None:
        for storage_key, key, stored in database.objects():
            self.store.load(storage_key, key, stored)
        for key, stored in self.store.list(CRD_KEY):
            self.kinds.update(key.cluster, stored.obj)

    def replay(self) -> None:
        """Tell the subscribers, which are all there now, of every object as if it were new."""
        for storage_key in self.store.storage_keys():
            for key, stored in list(self.store.list(storage_key)):
                info = self.kinds.storage_info(key.cluster, storage_key)
                if info is None:
                    continue  # its CRD is not established
                event = Event("ADDED", info, *key, stored.obj, None)
                for follower in self.subscribers:
                    self._call(follower, event)

    def now(self) -> str:
        """Return the time as objects carry it."""
        return format_time(self.clock.time())

    def new_uid(self) -> str:
        """Return a fresh uid."""
        return new_uid(self.rng)

    def stored(self, info: ResourceInfo, cluster: str, namespace: str, name: str) -> Stored | None:
        """Return an object's current version."""
        return self.store.get(info.storage_key, ObjectKey(cluster, namespace, name))

    def find(self, info: ResourceInfo, cluster: str, namespace: str, name: str) -> Json | None:
        """Return an object in ``info``'s version, or None."""
        found = self.stored(info, cluster, namespace, name)
        return None if found is None else self.converted(info, found.obj)

    def converted(self, info: ResourceInfo, obj: Json) -> Json:
        """Return a stored object in ``info``'s version."""
        convert = from_storage(info)
        return obj if convert is None else convert(obj)

    def annotate(self, info: ResourceInfo, cluster: str, obj: Json) -> None:
        """Put the cluster's name, where it matters its path, and our labels on an object."""
        if not self.workspaces:
            return
        meta = obj["metadata"]
        annotations = meta.get("annotations") or {}
        wanted = {CLUSTER_ANNOTATION: cluster}
        has_path = info.storage_key in _WITH_PATH or PATH_ANNOTATION in annotations
        if has_path and info.storage_key != LOGICAL_CLUSTERS_KEY:
            wanted[PATH_ANNOTATION] = self.path_of(cluster)
        if any(annotations.get(key) != value for key, value in wanted.items()):
            meta["annotations"] = {**annotations, **wanted}
        if self.labels is not None:
            self.labels(info, cluster, obj)

    def path_of(self, cluster: str) -> str:
        """Return a logical cluster's path, its name as long as it has none."""
        found = self.store.get(LOGICAL_CLUSTERS_KEY, ObjectKey(cluster, "", "cluster"))
        annotations = found.obj["metadata"].get("annotations") if found else None
        return str((annotations or {}).get(PATH_ANNOTATION) or cluster)

    def put(self, info: ResourceInfo, cluster: str, obj: Json) -> Json:
        """Commit ``obj`` (private to the caller until now); returns it in ``info``'s version."""
        meta = obj["metadata"]
        self.annotate(info, cluster, obj)
        key = ObjectKey(cluster, meta.get("namespace", ""), meta["name"])
        stored = to_storage(info, obj)
        change = self.store.put(info.storage_key, key, stored, is_custom=info.crd is not None)
        self._tell(info, change)
        return self.converted(info, change.object.obj)

    def remove(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        name: str,
        last: Json | None = None,
    ) -> None:
        """Commit a removal; ``last`` is the stored state that watchers are shown."""
        key = ObjectKey(cluster, namespace, name)
        change = self.store.delete(info.storage_key, key, last)
        if change is not None:
            self._tell(info, change)

    def _tell(self, info: ResourceInfo, change: Change) -> None:
        storage_info = self.kinds.storage_info(change.key.cluster, info.storage_key) or info
        old = change.old.obj if change.old is not None else None
        event = Event(change.type, storage_info, *change.key, change.object.obj, old)
        self._events.append(event)
        if self._telling:
            return
        self._telling = True
        try:
            while self._events:
                event = self._events.popleft()
                for follower in (*self.hooks, *self.subscribers):
                    self._call(follower, event)
        finally:
            self._telling = False

    def _call(self, follower: Callable[[Event], None], event: Event) -> None:
        try:
            follower(event)
        except Exception as error:  # noqa: BLE001 - one follower must not break the commit or the others
            _log.error(
                "A follower of commits failed",
                exc_info=error,
                resource=event.info.group_resource,
                cluster=event.cluster,
                namespace=event.namespace,
                name=event.name,
            )
