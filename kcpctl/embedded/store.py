"""The store: every object of the server, its versions, and the changes that watches follow."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from kcpctl.embedded.status import expired

__all__ = [
    "HISTORY_LENGTH",
    "Change",
    "ChangeType",
    "Cursor",
    "Journal",
    "ObjectKey",
    "Store",
    "Stored",
    "family_of",
    "in_struct_order",
]

Json = dict[str, Any]
ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

# The real watch cache keeps 100 to 102400 events a type, grown by need; this is enough for a
# client that was away for minutes, and bounds what deleted objects can hold in memory.
HISTORY_LENGTH: Final = 4096

_encoder = msgspec.json.Encoder()
_sorting_encoder = msgspec.json.Encoder(order="sorted")


_METADATA_ORDER: Final = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)


def in_struct_order(obj: Json) -> Json:
    """Return an object of a built-in kind with its keys as the real server's structs order them.

    Kind, apiVersion and metadata come first; :meth:`Stored.item` relies on the first two.
    """
    meta = obj.get("metadata") or {}
    return {
        "kind": obj.get("kind", ""),
        "apiVersion": obj.get("apiVersion", ""),
        **obj,
        "metadata": {key: meta[key] for key in _METADATA_ORDER if key in meta},
    }


def family_of(group_resource: str) -> str:
    """Return the storage key that shows the bound objects of a resource of all identities."""
    return f"{group_resource}:*"


class ObjectKey(NamedTuple):
    """Where an object lives; ``namespace`` is "" for cluster-scoped ones."""

    cluster: str
    namespace: str
    name: str


class Stored:
    """One version of an object. ``obj`` is never modified once it is in here.

    ``encoded`` is computed at most once for each API version, however many lists and watches
    send it.
    """

    __slots__ = ("_encoded", "is_custom", "obj", "revision")

    def __init__(self, obj: Json, revision: int, *, is_custom: bool = False) -> None:
        self.obj = obj
        self.revision = revision
        self.is_custom = is_custom
        self._encoded: dict[str, bytes] = {}

    def encoded(self, api_version: str, convert: Callable[[Json], Json] | None = None) -> bytes:
        """Return the object's JSON in ``api_version``; ``convert`` makes that version of it."""
        found = self._encoded.get(api_version)
        if found is None:
            obj = convert(self.obj) if convert is not None else self.obj
            if self.is_custom:
                found = _sorting_encoder.encode(obj)
            else:
                found = _encoder.encode(in_struct_order({**obj, "apiVersion": api_version}))
            self._encoded[api_version] = found
        return found

    def item(self, api_version: str, convert: Callable[[Json], Json] | None = None) -> bytes:
        """Return the JSON as it appears in a list: built-in kinds leave kind and apiVersion out."""
        data = self.encoded(api_version, convert)
        if self.is_custom:
            return data
        head = f'{{"kind":"{self.obj.get("kind", "")}","apiVersion":"{api_version}",'
        return b"{" + data[len(head) :]


@dataclass(frozen=True, slots=True)
class Change:
    """One commit. ``object`` of a DELETED change carries the deletion's own revision."""

    type: ChangeType
    key: ObjectKey
    object: Stored
    old: Stored | None

    @property
    def revision(self) -> int:
        """The server's revision after this commit."""
        return self.object.revision


class _Collection:
    """The objects of one group resource in all clusters, with their last changes."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[tuple[str, str], Stored]] = {}
        self.order: dict[str, list[tuple[str, str]]] = {}
        self.log: list[Change] = []
        self.base = 0  # position of log[0] among all changes ever
        self.latest = 0  # revision of the last change
        self.forgotten = 0  # changes up to this revision are no longer in the log
        self.cursors: dict[str, set[Cursor]] = {}

    def sorted_names(self, cluster: str) -> list[tuple[str, str]]:
        """Return the (namespace, name) pairs of a cluster in order."""
        order = self.order.get(cluster)
        if order is None:
            # As etcd orders its keys: "a-b/x" comes before "a/x".
            order = sorted(self.objects.get(cluster, ()), key="/".join)
            self.order[cluster] = order
        return order

    def keep(self, key: ObjectKey, stored: Stored) -> Stored | None:
        """Put an object in; returns the one that it replaces."""
        objects = self.objects.setdefault(key.cluster, {})
        pair = (key.namespace, key.name)
        old = objects.get(pair)
        objects[pair] = stored
        if old is None:
            self.order.pop(key.cluster, None)
        return old

    def drop(self, key: ObjectKey) -> Stored | None:
        """Take an object out; returns it."""
        objects = self.objects.get(key.cluster, {})
        old = objects.pop((key.namespace, key.name), None)
        if old is not None:
            self.order.pop(key.cluster, None)
            if not objects:
                del self.objects[key.cluster]
        return old

    def append(self, change: Change) -> None:
        """Log a change and wake who follows."""
        self.log.append(change)
        self.latest = change.revision
        if len(self.log) > 2 * HISTORY_LENGTH:
            self.forget(len(self.log) - HISTORY_LENGTH)
        for scope in (change.key.cluster, "*"):
            for cursor in self.cursors.get(scope, ()):
                cursor.wake()

    def forget(self, count: int) -> None:
        """Drop the oldest ``count`` changes."""
        if count > 0:
            self.forgotten = self.log[count - 1].revision
            del self.log[:count]
            self.base += count


class Cursor:
    """A position in the changes of one resource, of one cluster or (``*``) of all.

    ``pending`` returns what came since the last call and raises 410 when the store has forgotten
    some of it. ``wait`` returns when there is something, or when ``wake`` or ``end`` was called.
    ``close`` must be called.
    """

    def __init__(self, collection: _Collection, cluster: str, position: int) -> None:
        self.ended = False
        self._collection = collection
        self._cluster = cluster
        self._position = position
        self._event = asyncio.Event()
        collection.cursors.setdefault(cluster, set()).add(self)

    def pending(self) -> list[Change]:
        """Return the changes since the last call."""
        collection = self._collection
        if self._position < collection.base:
            raise expired("too old resource version: the watch fell behind")
        changes = collection.log[self._position - collection.base :]
        self._position += len(changes)
        self._event.clear()
        if self._cluster == "*":
            return changes
        return [change for change in changes if change.key.cluster == self._cluster]

    async def wait(self) -> None:
        """Wait for a wake-up."""
        await self._event.wait()

    def wake(self) -> None:
        """Let ``wait`` return."""
        self._event.set()

    def end(self) -> None:
        """Tell the follower that nothing will come any more."""
        self.ended = True
        self._event.set()

    def close(self) -> None:
        """Forget this cursor."""
        cursors = self._collection.cursors.get(self._cluster)
        if cursors is not None:
            cursors.discard(self)
            if not cursors:
                del self._collection.cursors[self._cluster]


class Journal(Protocol):
    """Keeps what the store commits beyond the life of the process."""

    def record(self, resource: str, key: ObjectKey, stored: Stored | None, revision: int) -> None:
        """Note an object's new version (None: its deletion), committed at ``revision``."""

    def flush(self) -> None:
        """Return when everything noted is kept; raises when it cannot be."""


class Store:
    """Objects by storage key, cluster, namespace and name, under one revision counter.

    A storage key is a group resource, with ``:identity`` for bound ones; ``family_of`` a group
    resource is the key by which bound objects of all identities are read.

    Promises: (1) the revision grows by one with each commit, and an object's resourceVersion is
    the revision of the commit that wrote it; (2) a stored dict is never modified; (3) changes are
    handed out in order, without gaps, or a 410 is raised. Event loop's thread only; nothing
    blocks or awaits except ``Cursor.wait``.

    ``revision`` is where to start counting; versions before it are "too old". With a ``journal``
    a commit is kept once ``flush`` has returned: nothing that shows it leaves the process before.
    """

    def __init__(self, revision: int = 1, journal: Journal | None = None) -> None:
        self.revision = revision
        self._journal = journal
        self._compacted = revision
        self._collections: dict[str, _Collection] = {}

    def _collection(self, storage_key: str) -> _Collection:
        found = self._collections.get(storage_key)
        if found is None:
            found = self._collections[storage_key] = _Collection()
        return found

    def _family(self, storage_key: str) -> list[_Collection]:
        """Return the collection that shows a resource whatever its identity, if it has one."""
        resource, colon, _ = storage_key.partition(":")
        return [self._collection(family_of(resource))] if colon else []

    def load(self, storage_key: str, key: ObjectKey, stored: Stored) -> None:
        """Take over an object of an earlier life, before the first commit of this one."""
        for collection in (self._collection(storage_key), *self._family(storage_key)):
            collection.keep(key, stored)
            collection.latest = max(collection.latest, stored.revision)

    def flush(self) -> None:
        """Return when all commits are kept, at once without a journal; raises as that does."""
        if self._journal is not None:
            self._journal.flush()

    def _record(self, storage_key: str, key: ObjectKey, stored: Stored | None) -> None:
        if self._journal is not None:
            self._journal.record(storage_key, key, stored, self.revision)

    def storage_keys(self) -> list[str]:
        """Return every group resource that has or had objects."""
        return list(self._collections)

    def get(self, storage_key: str, key: ObjectKey) -> Stored | None:
        """Return an object's current version."""
        objects = self._collection(storage_key).objects.get(key.cluster)
        return objects.get((key.namespace, key.name)) if objects else None

    def latest(self, storage_key: str) -> int:
        """Return the revision of the last change of a resource, in any cluster."""
        return self._collection(storage_key).latest

    def count(self, storage_key: str, cluster: str) -> int:
        """Return how many objects a cluster has."""
        return len(self._collection(storage_key).objects.get(cluster, ()))

    def list(
        self, storage_key: str, cluster: str = "*", namespace: str | None = None
    ) -> Iterator[tuple[ObjectKey, Stored]]:
        """Yield objects in the order of cluster, namespace, name. Do not write meanwhile."""
        collection = self._collection(storage_key)
        for one in sorted(collection.objects) if cluster == "*" else (cluster,):
            objects = collection.objects.get(one)
            if not objects:
                continue
            for pair in collection.sorted_names(one):
                if namespace is None or pair[0] == namespace:
                    yield ObjectKey(one, *pair), objects[pair]

    def list_at(
        self, storage_key: str, revision: int, cluster: str = "*", namespace: str | None = None
    ) -> Iterator[tuple[ObjectKey, Stored]]:
        """Yield what ``list`` would have yielded at an older revision; raises 410."""
        collection = self._collection(storage_key)
        if revision < max(self._compacted, collection.forgotten):
            raise expired("The resourceVersion for the provided list is too old.")
        state: dict[ObjectKey, Stored | None] = dict(self.list(storage_key, cluster))
        for change in reversed(collection.log):
            if change.revision <= revision:
                break
            if cluster in ("*", change.key.cluster):
                state[change.key] = change.old
        for key in sorted(state, key=lambda key: (key.cluster, "/".join(key[1:]))):
            stored = state[key]
            if stored is not None and (namespace is None or key.namespace == namespace):
                yield key, stored

    def put(self, storage_key: str, key: ObjectKey, obj: Json, *, is_custom: bool) -> Change:
        """Commit ``obj``, which the store owns from now on, under the next revision."""
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        stored = Stored(obj, self.revision, is_custom=is_custom)
        collection = self._collection(storage_key)
        old = collection.keep(key, stored)
        change = Change("ADDED" if old is None else "MODIFIED", key, stored, old)
        self._record(storage_key, key, stored)
        collection.append(change)
        for family in self._family(storage_key):
            family.keep(key, stored)
            family.append(change)
        return change

    def rewrite(self, storage_key: str, cluster: str, change: Callable[[Json], Json]) -> None:
        """Replace what readers see of each object, without a commit: its schema has changed."""
        objects = self._collection(storage_key).objects.get(cluster, {})
        for pair, stored in objects.items():
            seen = change(stored.obj)
            if seen != stored.obj:
                new = Stored(seen, stored.revision, is_custom=stored.is_custom)
                objects[pair] = new
                self._record(storage_key, ObjectKey(cluster, *pair), new)

    def delete(self, storage_key: str, key: ObjectKey, last: Json | None = None) -> Change | None:
        """Remove an object; ``last`` is the state that the DELETED change shows."""
        collection = self._collection(storage_key)
        old = collection.drop(key)
        if old is None:
            return None
        self.revision += 1
        final = {**(last or old.obj)}
        final["metadata"] = {**final["metadata"], "resourceVersion": str(self.revision)}
        stored = Stored(final, self.revision, is_custom=old.is_custom)
        change = Change("DELETED", key, stored, old)
        self._record(storage_key, key, None)
        collection.append(change)
        for family in self._family(storage_key):
            family.drop(key)
            family.append(change)
        return change

    def follow(self, storage_key: str, cluster: str, revision: int | None = None) -> Cursor:
        """Return a cursor at the changes after ``revision`` (None: from now on); raises 410."""
        collection = self._collection(storage_key)
        position = collection.base + len(collection.log)
        if revision is not None and revision < self.revision:
            oldest = max(self._compacted, collection.forgotten)
            if revision < oldest:
                raise expired(f"too old resource version: {revision} ({oldest})")
            position = collection.base + bisect_right(
                collection.log, revision, key=lambda change: change.revision
            )
        return Cursor(collection, cluster, position)

    def end_watches(self, storage_key: str, cluster: str) -> None:
        """End the watches of a resource that is no longer served in a cluster."""
        for cursor in list(self._collection(storage_key).cursors.get(cluster, ())):
            cursor.end()

    def wake_all(self) -> None:
        """End every watch: the server stops."""
        for collection in self._collections.values():
            for cursors in list(collection.cursors.values()):
                for cursor in list(cursors):
                    cursor.end()

    def compact(self) -> None:
        """Forget every version but the current ones, as etcd compaction does."""
        self._compacted = self.revision
        for collection in self._collections.values():
            collection.forget(len(collection.log))
