"""Who wrote what: each successful write is noted for whoever waits for the caches to see it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from kcpctl.apis.resource import Resource

__all__ = ["Write", "WriteLog", "note_write"]


class Write(msgspec.Struct, frozen=True):
    """An object as the server answered a write of it.

    ``server`` is the base URL and ``url`` that of the logical cluster: versions mean something
    only within one server (CS-11).
    """

    server: str
    url: str
    resource: Resource
    namespace: str
    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]


class WriteLog:
    """The successful writes of one piece of work.

    :meth:`start` lets everything that this thread or task calls from now on note its writes here,
    until another log starts. The blocking client takes the log along to the I/O loop; so does
    whatever else copies the context. A thread that the work starts by itself does not.

    :meth:`close` ends it: what goes on in the background afterwards is not noted, nor kept alive by
    a log that nobody reads.
    """

    __slots__ = ("_writes",)

    def __init__(self) -> None:
        self._writes: list[Write] | None = None

    def start(self) -> None:
        """Note what this context writes."""
        self._writes = []
        _current.set(self)

    def note(self, write: Write) -> None:
        """Take a write in, unless closed. Any thread."""
        writes = self._writes
        if writes is not None:
            writes.append(write)

    def close(self) -> list[Write]:
        """Take no more; return what there was, in order."""
        writes, self._writes = self._writes, None
        return writes or []


_current: Final[contextvars.ContextVar[WriteLog | None]] = contextvars.ContextVar(
    "kcpctl_writes", default=None
)
_log: Final[Callable[[], WriteLog | None]] = _current.get


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}


class _Answer(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_decode: Final = msgspec.json.Decoder(_Answer).decode


def note_write(server: str, url: str, resource: Resource, answer: bytes) -> None:
    """Note what a server answered to a write; costs nothing where nobody takes notes.

    An answer that is no object with a uid and a version, such as a Status or a token, is no write
    that a cache could see.
    """
    log = _log()
    if log is None:
        return
    try:
        meta = _decode(answer).metadata
    except msgspec.MsgspecError:
        return  # whoever asked for the object complains
    if meta.uid and meta.resource_version:
        log.note(
            Write(
                server,
                url,
                resource,
                meta.namespace,
                meta.name,
                meta.uid,
                meta.resource_version,
                meta.labels,
            )
        )
