"""Watches: from the store's changes to a stream of JSON lines."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final

import msgspec

from kcpctl.embedded.conversion import from_storage
from kcpctl.embedded.http.lists import Selection, check_list_options
from kcpctl.embedded.http.negotiation import Representation
from kcpctl.embedded.http.render import include_object_of, partial_metadata, table
from kcpctl.embedded.http.request import ApiRequest
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.status import StatusError, expired, internal
from kcpctl.embedded.store import Change, Cursor, Stored
from kcpctl.runtime import Clock, TaskSet

__all__ = ["MIN_TIMEOUT_SECONDS", "Watch"]

Json = dict[str, Any]
_encoder = msgspec.json.Encoder()

# The real server's --min-request-timeout: a watch without timeoutSeconds lasts 30 to 60 minutes.
MIN_TIMEOUT_SECONDS: Final = 1800.0
_BOOKMARK_PERIOD_SECONDS: Final = 60.0
# The last bookmark comes this long before the end, so that the client can go on from there.
_LAST_BOOKMARK_SECONDS: Final = 2.0
_TOO_LARGE_WAIT_SECONDS: Final = 3.0
# What a virtual workspace of kcp says when the API below a watch is replaced.
_CUT_OFF: Final = internal(
    'an error on the server ("unable to decode an event from the watch stream: context canceled") '
    "has prevented the request from succeeding"
)
_END_OF_INITIAL: Final = "k8s.io/initial-events-end"


def _revision(text: str) -> int:
    if text and not text.isdigit():
        message = (
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
            "invalid syntax"
        )
        raise internal(message)
    return int(text or "0")


class _Shape:
    """How the objects of one watch are sent; knows whether columns were sent already."""

    def __init__(
        self, info: ResourceInfo, representation: Representation, include_object: str, clock: Clock
    ) -> None:
        self._info = info
        self._convert = from_storage(info)
        self._as = representation
        self._include_object = include_object
        self._clock = clock
        self._first = True

    def event(self, kind: str, stored: Stored) -> bytes:
        """Return the line of an event."""
        if not self._as.transform:
            data = stored.encoded(self._info.api_version, self._convert)
            return b'{"type":"%s","object":%s}\n' % (kind.encode(), data)
        return self.line(kind, stored.obj)

    def line(self, kind: str, obj: Json) -> bytes:
        """Return the line of an event on a decoded object (in the stored version)."""
        obj = self._convert(obj) if self._convert is not None else obj
        shown: Json = {"kind": self._info.kind, "apiVersion": self._info.api_version, **obj}
        if self._as.transform == "Table":
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            shown = self._table([obj], metadata)
        elif self._as.transform:
            shown = partial_metadata(obj, self._as.transform_version)
        return _encoder.encode({"type": kind, "object": shown}) + b"\n"

    def _table(self, objects: Iterable[Json], metadata: Json) -> Json:
        first, self._first = self._first, False
        return table(
            self._info,
            objects,
            metadata,
            version=self._as.transform_version,
            include_object=self._include_object,
            now=self._clock.time(),
            with_columns=first,
        )

    def bookmark(self, revision: int, *, ends_initial: bool) -> bytes:
        """Return the line of a bookmark."""
        metadata: Json = {"resourceVersion": str(revision)}
        if ends_initial:
            metadata["annotations"] = {_END_OF_INITIAL: "true"}
        return self.line("BOOKMARK", {"metadata": metadata})


class Watch:
    """One watch request.

    ``lines`` yields chunks of whole lines until the time is over, the resource is gone or the
    server stops; its caller may stop at any point. Errors that the client can mend are raised
    by the constructor (4xx); a version that is too old is an ERROR line, as on the real server.

    Selectors: an object that comes to match is ADDED, one that stops matching is DELETED with its
    previous state and the version of the update.
    """

    def __init__(
        self,
        registry: Registry,
        info: ResourceInfo,
        request: ApiRequest,
        selection: Selection,
        representation: Representation,
        *,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._registry = registry
        self._info = info
        self._selection = selection
        self._clock = clock
        check_list_options(request, watch=True)
        timeout = request.integer("timeoutSeconds")
        self._timeout_seconds = float(timeout or MIN_TIMEOUT_SECONDS * (1 + rng.random()))
        self._revision = _revision(request.value("resourceVersion"))
        self._bookmarks = request.flag("allowWatchBookmarks")
        sends = request.query.get("sendInitialEvents")
        from_now = self._revision == 0
        self._initial = request.flag("sendInitialEvents") if sends is not None else from_now
        self._marks_initial = self._bookmarks and self._initial
        include_object = include_object_of(request.value("includeObject"))
        self._shape = _Shape(info, representation, include_object, clock)
        self._cursor: Cursor | None = None
        self._ended = False

    def end(self) -> None:
        """End ``lines`` with an error: what is watched is not served any more, or has changed."""
        self._ended = True
        if self._cursor is not None:
            self._cursor.end()

    async def lines(self, tasks: TaskSet) -> AsyncGenerator[bytes, None]:
        """Yield the stream; ``tasks`` owns the timer."""
        try:
            await self._wait_for_revision()
            cursor = self._cursor = self._open()
        except StatusError as error:
            yield _encoder.encode({"type": "ERROR", "object": error.status}) + b"\n"
            return
        if self._ended:
            cursor.end()
        timer = tasks.spawn(self._tick(cursor), name="watch-timer")
        try:
            async for chunk in self._follow(cursor):
                yield chunk
        finally:
            timer.cancel()
            cursor.close()

    async def _wait_for_revision(self) -> None:
        """Refuse a version that this server has never given out.

        It can only come from before a restart; waiting for it would hide changes from the client.
        """
        if self._revision > self._registry.store.revision:
            await self._clock.asleep(min(_TOO_LARGE_WAIT_SECONDS, self._timeout_seconds))
            current = self._registry.store.revision
            if self._revision > current and self._timeout_seconds > _TOO_LARGE_WAIT_SECONDS:
                raise expired(f"too old resource version: {self._revision} ({current})")

    def _open(self) -> Cursor:
        revision = None if self._initial else self._revision or None
        return self._registry.store.follow(
            self._info.storage_key, self._selection.cluster, revision
        )

    async def _tick(self, cursor: Cursor) -> None:
        """Wake the follower whenever a bookmark is due, and at the end."""
        left = self._timeout_seconds
        while left > _BOOKMARK_PERIOD_SECONDS + _LAST_BOOKMARK_SECONDS:
            await self._clock.asleep(_BOOKMARK_PERIOD_SECONDS)
            left -= _BOOKMARK_PERIOD_SECONDS
            cursor.wake()
        if left > _LAST_BOOKMARK_SECONDS:
            await self._clock.asleep(left - _LAST_BOOKMARK_SECONDS)
            left = _LAST_BOOKMARK_SECONDS
            cursor.wake()
        await self._clock.asleep(left)
        cursor.end()

    async def _follow(self, cursor: Cursor) -> AsyncGenerator[bytes, None]:
        if self._initial and (chunk := self._initial_lines()):
            yield chunk
        left = max(self._timeout_seconds - _LAST_BOOKMARK_SECONDS, 0)
        last = self._clock.monotonic() + left
        due = self._next_bookmark(last)
        while True:
            try:
                changes = cursor.pending()
            except StatusError as error:  # a client that reads too slowly
                yield _encoder.encode({"type": "ERROR", "object": error.status}) + b"\n"
                return
            chunk = b"".join(self._lines_of(changes))
            if chunk:
                yield chunk
                continue  # more may have come meanwhile, which a bookmark must not skip
            if self._ended:
                yield _encoder.encode({"type": "ERROR", "object": _CUT_OFF.status}) + b"\n"
            if cursor.ended:
                return
            if self._bookmarks and self._clock.monotonic() >= due:
                # Also when nothing has changed: to clients it is a sign of life.
                due = self._next_bookmark(last)
                yield self._shape.bookmark(self._registry.store.revision, ends_initial=False)
            await cursor.wait()

    def _next_bookmark(self, last: float) -> float:
        now = self._clock.monotonic()
        due = now + _BOOKMARK_PERIOD_SECONDS
        return min(due, last) if now < last else due

    def _initial_lines(self) -> bytes:
        store, selection = self._registry.store, self._selection
        lines = [
            self._shape.event("ADDED", stored)
            for key, stored in store.list(
                self._info.storage_key, selection.cluster, selection.namespace
            )
            if selection.covers(key) and selection.matches(stored.obj)
        ]
        if self._marks_initial:
            lines.append(self._shape.bookmark(store.revision, ends_initial=True))
        return b"".join(lines)

    def _lines_of(self, changes: Iterable[Change]) -> Iterable[bytes]:
        selection = self._selection
        for change in changes:
            if not selection.covers(change.key):
                continue
            if not selection.filters:
                yield self._shape.event(change.type, change.object)
                continue
            is_in = change.type != "DELETED" and selection.matches(change.object.obj)
            was_in = change.old is not None and selection.matches(change.old.obj)
            if is_in:
                yield self._shape.event("MODIFIED" if was_in else "ADDED", change.object)
            elif was_in and change.type == "DELETED":
                yield self._shape.event("DELETED", change.object)
            elif was_in and change.old is not None:
                yield self._shape.line("DELETED", _as_of(change.old.obj, change.revision))


def _as_of(obj: Json, revision: int) -> Json:
    """Return an object with the version of a later change."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(revision)}}
