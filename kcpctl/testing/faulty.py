"""A collection of ConfigMaps with a true history, behind a server that breaks lists and watches.

It knows nothing of the other servers of this package, so that what they have in common with the
client is not taken for granted.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, Self

from kcpctl.testing.scripted import Received, Reply, ScriptedServer, status_body, watch_line

__all__ = ["Asked", "Fault", "FaultyCollection", "object_key"]

_PLAIN: Final = "/api/v1/configmaps"
_WILDCARD: Final = "/clusters/*/api/v1/configmaps"

Kind = Literal["list", "watch", "stream"]
_Object = dict[str, Any]


def object_key(obj: _Object) -> tuple[str, str]:
    """Return the logical cluster and the name of an object."""
    metadata = obj["metadata"]
    return metadata.get("annotations", {}).get("kcp.io/cluster", "root"), metadata["name"]


class Change(NamedTuple):
    """One entry of the history."""

    version: int
    type: str
    object: _Object

    @property
    def line(self) -> bytes:
        """The change as a line of a watch."""
        return watch_line(self.type, self.object)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: a list, a watch, or a watch that begins with the state; and what it should get.

    ``lines`` is what a faultless watch would send at once; ``version`` is where it began, 0 for
    none.
    """

    kind: Kind
    version: str
    lines: Sequence[bytes]
    query: dict[str, str]


Fault = Callable[["FaultyCollection", Asked], Reply]
"""Makes the reply to a request, instead of the right one."""


class FaultyCollection:
    """Serves the collection at :attr:`path`; with ``clusters`` for all logical clusters at once.

    :meth:`write` and :meth:`delete` change it. ``fail`` has the next requests of some kinds meet a
    fault, ``fail_always`` all of them until :meth:`mend`. ``asked`` has every request in order.
    Use it as an async context manager.
    """

    def __init__(self, server: ScriptedServer, *, clusters: Sequence[str] = ()) -> None:
        self.server = server
        self.clusters = tuple(clusters) or ("root",)
        self.path = _WILDCARD if clusters else _PLAIN
        self.asked: list[Asked] = []
        self.version = 1
        self.history: list[Change] = []
        self._annotated = bool(clusters)
        self._oldest = 1
        self._faults: deque[tuple[frozenset[str], Fault]] = deque()
        self._always: tuple[frozenset[str], Fault] | None = None
        self._changed = asyncio.Event()
        self._round = 0

    @property
    def objects(self) -> dict[tuple[str, str], _Object]:
        """What there is now."""
        return self.state_at(self.version)

    def state_at(self, version: int) -> dict[tuple[str, str], _Object]:
        """Return what there was at a version."""
        state: dict[tuple[str, str], _Object] = {}
        for change in self.history:
            if change.version > version:
                break
            if change.type == "DELETED":
                state.pop(object_key(change.object))
            else:
                state[object_key(change.object)] = change.object
        return state

    def write(self, name: str, cluster: str = "root") -> None:
        """Create an object, or update it."""
        self.version += 1
        known = self.objects.get((cluster, name))
        uid = known["metadata"]["uid"] if known else f"uid-{cluster}-{name}-{self.version}"
        obj = self._object(name, cluster, uid)
        self._add(Change(self.version, "MODIFIED" if known else "ADDED", obj))

    def delete(self, name: str, cluster: str = "root") -> None:
        """Delete an object."""
        self.version += 1
        uid = self.objects[cluster, name]["metadata"]["uid"]
        self._add(Change(self.version, "DELETED", self._object(name, cluster, uid)))

    def _object(self, name: str, cluster: str, uid: str) -> _Object:
        metadata: _Object = {
            "name": name,
            "namespace": "default",
            "uid": uid,
            "resourceVersion": str(self.version),
        }
        if self._annotated:
            metadata["annotations"] = {"kcp.io/cluster": cluster}
        data = {"version": str(self.version)}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def _add(self, change: Change) -> None:
        self.history.append(change)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def compact(self) -> None:
        """Forget the history; watches of before are answered with 410."""
        self._oldest = self.version

    def end_watches(self) -> None:
        """End every open watch in order."""
        self._round += 1
        self._wake()

    def fail(self, fault: Fault, *kinds: Kind, times: int = 1) -> None:
        """Let the next ``times`` requests of ``kinds`` meet a fault."""
        self._faults.extend([(frozenset(kinds), fault)] * times)

    def fail_always(self, fault: Fault, *kinds: Kind) -> None:
        """Let all requests of ``kinds`` meet a fault."""
        self._always = frozenset(kinds), fault

    def mend(self) -> None:
        """Serve rightly from now on."""
        self._always = None
        self._faults.clear()

    @property
    def faults_left(self) -> int:
        """How many requests are still to meet a fault."""
        return len(self._faults)

    async def __aenter__(self) -> Self:
        await self.server.start()
        self.server.on("GET", self.path, self._answer)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.server.stop()

    # Answers.

    def _answer(self, request: Received) -> Reply:
        query = dict(request.query)
        kind: Kind = "list" if "watch" not in query else "watch"
        if "sendInitialEvents" in query:
            kind = "stream"
        version = query.get("resourceVersion", "")
        lines = self._state_lines() if kind == "stream" else self._lines_after(version)
        asked = Asked(kind, version, lines, query)
        self.asked.append(asked)
        if self._always is not None and kind in self._always[0]:
            return self._always[1](self, asked)
        if self._faults and kind in self._faults[0][0]:
            return self._faults.popleft()[1](self, asked)
        return self.right_answer(asked)

    def right_answer(self, asked: Asked) -> Reply:
        """Return what the request gets when nothing is wrong."""
        number = int(asked.version or 0)
        if number > self.version:
            message = f"Timeout: Too large resource version: {number}, current: {self.version}"
            return Reply(status_body(504, "Timeout", message), status=504)
        if asked.kind == "list":
            return self.listed(self.version)
        if asked.kind == "watch" and 0 < number < self._oldest:
            expired = status_body(410, "Expired", f"too old resource version: {number}")
            return Reply(chunks=[watch_line("ERROR", expired)])
        return self.going_on(asked.lines)

    def listed(self, version: int, **fields: Any) -> Reply:
        """Return the list of what there was at a version."""
        items = [
            {name: part for name, part in obj.items() if name not in {"apiVersion", "kind"}}
            for obj in self.state_at(version).values()
        ]
        body = {
            "kind": "ConfigMapList",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": str(version)},
            "items": items,
            **fields,
        }
        return Reply(json.dumps(body).encode())

    def _lines_after(self, version: str) -> list[bytes]:
        if version in {"", "0"}:
            return [watch_line("ADDED", obj) for obj in self.objects.values()]
        return [change.line for change in self.history if change.version > int(version)]

    def _state_lines(self) -> list[bytes]:
        state = [watch_line("ADDED", obj) for obj in self.objects.values()]
        return [*state, self.end_of_state(self.version)]

    @staticmethod
    def bookmark(version: int, **annotations: str) -> bytes:
        """Return the line of a bookmark."""
        metadata = {"resourceVersion": str(version), "annotations": annotations}
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        return watch_line("BOOKMARK", obj)

    @classmethod
    def end_of_state(cls, version: int) -> bytes:
        """Return the bookmark at the end of a streamed state."""
        return cls.bookmark(version, **{"k8s.io/initial-events-end": "true"})

    def going_on(self, lines: Sequence[bytes], **more: Any) -> Reply:
        """Return a watch that sends ``lines`` and then whatever happens, until it is ended."""
        return Reply(chunks=self._live(lines, self.version), **more)

    async def _live(self, lines: Sequence[bytes], seen: int) -> AsyncIterator[bytes]:
        begun_in = self._round
        for line in lines:
            yield line
        while self._round == begun_in:
            changed = self._changed
            for change in self.history:
                if change.version > seen:
                    seen = change.version
                    yield change.line
            if self._changed is changed:
                await changed.wait()

    def after(self, lines: Sequence[bytes], **more: Any) -> Reply:
        """Return a watch that sends ``lines`` and ends as ``more`` says."""
        return replace(Reply(chunks=list(lines)), **more)
