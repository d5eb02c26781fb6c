"""Ignoring: objects that a program never wants to see, kept out of the store (KCP-15)."""

from __future__ import annotations

from collections.abc import Callable

from kcpctl.informers.objects import CachedObject
from kcpctl.informers.reflector import Sink
from kcpctl.runtime import get_logger

__all__ = ["Ignore", "Ignoring"]

Ignore = Callable[[CachedObject], bool]
"""Says whether an object is to be left out. Called on the I/O thread, for each that comes."""

_log = get_logger(__name__)


class Ignoring(Sink):
    """Hands on to another sink what is not ignored.

    An object that begins to be ignored is deleted there, one that ceases to be comes as an add. A
    function that raises ignores nothing: that is logged, and counted through ``on_error``.
    """

    def __init__(self, sink: Sink, ignore: Ignore, *, on_error: Callable[[], None]) -> None:
        self._sink = sink
        self._ignore = ignore
        self._on_error = on_error

    def replace(self, objects: list[CachedObject], resource_version: str) -> None:
        """Hand on what is left of a full state."""
        wanted = [obj for obj in objects if not self._ignored(obj)]
        self._sink.replace(wanted, resource_version)

    def apply(self, event_type: str, obj: CachedObject, resource_version: str) -> None:
        """Hand on an event, as a deletion where the object is ignored."""
        gone = event_type == "DELETED" or self._ignored(obj)
        self._sink.apply("DELETED" if gone else event_type, obj, resource_version)

    def bookmark(self, resource_version: str) -> None:
        """Hand on a bookmark."""
        self._sink.bookmark(resource_version)

    def _ignored(self, obj: CachedObject) -> bool:
        try:
            return self._ignore(obj)
        except Exception as error:  # noqa: BLE001 - a bug in it must not end the informer
            _log.error("Ignore function failed", key=obj.key, exc_info=error)
            self._on_error()
            return False
