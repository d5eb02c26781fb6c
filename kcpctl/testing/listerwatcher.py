"""A list/watch source that answers as a script says, for tests of what is built on informers."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple

import msgspec

from kcpctl.client import RawEvent, RawPage
from kcpctl.informers import CachedObject, ObjectMetadata
from kcpctl.logicalcluster import ClusterName

__all__ = [
    "HANG",
    "ListRequest",
    "LiveSource",
    "ScriptedSource",
    "StreamingSource",
    "WatchRequest",
    "cached_object",
    "end_of_state",
    "event",
    "page",
    "raw_object",
]

HANG: Final = object()
"""In a watch's script: nothing more comes until the reader goes away."""


class ListRequest(NamedTuple):
    """A list as it was asked for; ``resource_version`` None goes with a continue token."""

    resource_version: str | None
    limit: int
    continue_: str = ""


class WatchRequest(NamedTuple):
    """A watch as it was asked for."""

    resource_version: str
    timeout_seconds: int


class ScriptedSource:
    """A ``ListerWatcher`` of prepared answers.

    ``lists`` holds a page or an exception for each list; ``watches`` a sequence for each watch, of
    events (a list of them comes at once), exceptions and :data:`HANG`. A list or watch beyond the
    script hangs. ``requests`` has what was asked, in order, ``open_watches`` how many watches are
    being read.
    """

    def __init__(self) -> None:
        self.lists: deque[RawPage | Exception] = deque()
        self.watches: deque[Sequence[object]] = deque()
        self.requests: list[ListRequest | WatchRequest] = []
        self.open_watches = 0

    @property
    def list_versions(self) -> list[str]:
        """The versions asked for; "" for none."""
        return [one.resource_version or "" for one in self.requests if isinstance(one, ListRequest)]

    @property
    def watch_versions(self) -> list[str]:
        """The versions that watches began at."""
        return [one.resource_version for one in self.requests if isinstance(one, WatchRequest)]

    async def list(
        self, *, resource_version: str | None, limit: int, continue_: str = ""
    ) -> RawPage:
        """Return or raise the next answer."""
        self.requests.append(ListRequest(resource_version, limit, continue_))
        if not self.lists:
            await _forever()
        answer = self.lists.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def watch(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        """Yield the events of the next script."""
        self.requests.append(WatchRequest(resource_version, timeout_seconds))
        async with aclosing(self._play(self.watches)) as events:
            async for batch in events:
                yield batch

    async def _play(
        self, script: deque[Sequence[object]]
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        self.open_watches += 1
        try:
            for step in script.popleft() if script else [HANG]:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, RawEvent):
                    yield [step]
                elif isinstance(step, list):
                    yield step
                else:
                    await _forever()
        finally:
            self.open_watches -= 1


class StreamingSource(ScriptedSource):
    """The same, also with streams of the state: ``streams`` is scripted as ``watches`` is."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: deque[Sequence[object]] = deque()
        self.stream_versions: list[str] = []

    async def stream(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        """Yield the events of the next script."""
        self.stream_versions.append(resource_version)
        async with aclosing(self._play(self.streams)) as events:
            async for batch in events:
                yield batch


class LiveSource:
    """A ``ListerWatcher`` that a test plays server to, while it is watched.

    ``state`` is what every list answers, in full, or raises; ``send`` gives the watch that is open
    an event, or an exception that ends it. ``list_versions`` has what was asked for.
    """

    def __init__(self, state: RawPage | Exception) -> None:
        self.state = state
        self.list_versions: list[str | None] = []
        self.open_watches = 0
        self._sent: asyncio.Queue[RawEvent | Exception] = asyncio.Queue()

    def send(self, *sent: RawEvent | Exception) -> None:
        """Let the watch yield these; on the loop's thread."""
        for one in sent:
            self._sent.put_nowait(one)

    async def list(
        self, *, resource_version: str | None, limit: int, continue_: str = ""
    ) -> RawPage:
        """Return the state."""
        self.list_versions.append(resource_version)
        if isinstance(self.state, Exception):
            raise self.state
        return self.state

    async def watch(
        self, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[Sequence[RawEvent], None]:
        """Yield what is sent."""
        self.open_watches += 1
        try:
            while True:
                sent = await self._sent.get()
                if isinstance(sent, Exception):
                    raise sent
                yield [sent]
        finally:
            self.open_watches -= 1


def raw_object(
    name: str,
    resource_version: int | str,
    *,
    namespace: str = "default",
    cluster: str = "",
    uid: str = "",
    kind: str = "ConfigMap",
    metadata: dict[str, Any] | None = None,
    **fields: Any,
) -> msgspec.Raw:
    """Return the JSON of an object; ``cluster`` sets the annotation kcp.io/cluster."""
    meta: dict[str, Any] = {
        "name": name,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(resource_version),
        **(metadata or {}),
    }
    if namespace:
        meta["namespace"] = namespace
    if cluster:
        meta["annotations"] = {**meta.get("annotations", {}), "kcp.io/cluster": cluster}
    obj = {"apiVersion": "v1", "kind": kind, "metadata": meta, **fields}
    return msgspec.Raw(json.dumps(obj, separators=(",", ":")).encode())


def cached_object(key: str, cluster: str, meta: ObjectMetadata, raw: bytes = b"{}") -> CachedObject:
    """Return an object as an informer would hold it, of that metadata."""
    return CachedObject(
        key,
        ClusterName(cluster),
        meta.uid,
        meta.resource_version,
        meta.generation,
        meta.deletion_timestamp,
        raw,
        meta,
    )


def page(resource_version: int | str, *items: msgspec.Raw, continue_: str = "") -> RawPage:
    """Return one page of a list."""
    return RawPage(items=list(items), resource_version=str(resource_version), continue_=continue_)


def event(type_: str, obj: msgspec.Raw | int | str) -> RawEvent:
    """Return a watch event; a bookmark is given its version instead of an object."""
    if not isinstance(obj, msgspec.Raw):
        obj = raw_object("", obj)
    return RawEvent(type_, obj)


def end_of_state(resource_version: int) -> RawEvent:
    """Return the bookmark that says that a state has been sent in full."""
    metadata = {"annotations": {"k8s.io/initial-events-end": "true"}}
    return RawEvent("BOOKMARK", raw_object("", resource_version, metadata=metadata))


async def _forever() -> None:
    await asyncio.Event().wait()
