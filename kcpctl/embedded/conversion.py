"""One stored object, several API versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.objects import without

__all__ = ["from_storage", "to_storage"]

Json = dict[str, Any]

# core v1 name -> events.k8s.io/v1 name; what is not listed has the same name in both.
_EVENT_NAMES: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "source": "deprecatedSource",
}
_EVENT_NAMES_BACK: Final = {new: old for old, new in _EVENT_NAMES.items()}
# Fields that core v1 events always show, set or not.
_CORE_EVENT_EMPTY: Final[Json] = {
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
_EVENTS_EVENT_EMPTY: Final[Json] = {
    "eventTime": None,
    "deprecatedSource": {},
    "deprecatedFirstTimestamp": None,
    "deprecatedLastTimestamp": None,
}


def _rename(obj: Json, names: dict[str, str], api_version: str) -> Json:
    renamed = {names.get(key, key): value for key, value in obj.items()}
    return {**renamed, "apiVersion": api_version}


def _event_to_storage(obj: Json) -> Json:
    return {**_CORE_EVENT_EMPTY, **_rename(obj, _EVENT_NAMES_BACK, "v1")}


def _event_from_storage(obj: Json) -> Json:
    event = _rename(obj, _EVENT_NAMES, "events.k8s.io/v1")
    for name in ("reportingController", "reportingInstance"):
        if not event.get(name):
            event = without(event, name)
    return {**_EVENTS_EVENT_EMPTY, **event}


def _with_api_version(api_version: str) -> Callable[[Json], Json]:
    def convert(obj: Json) -> Json:
        return {**obj, "apiVersion": api_version}

    return convert


def from_storage(info: ResourceInfo) -> Callable[[Json], Json] | None:
    """Return the conversion of stored objects to ``info``'s version; None when it is the same."""
    if info.group == "events.k8s.io":
        return _event_from_storage
    if info.crd is not None:
        # The storage version of a CRD may change while older objects are stored.
        return _with_api_version(info.api_version)
    return None


def to_storage(info: ResourceInfo, obj: Json) -> Json:
    """Return an object of ``info``'s version in the stored version (a new dict if it differs)."""
    if info.storage_key == "events":
        return _event_to_storage(obj)
    if info.api_version != info.storage_version:
        return {**obj, "apiVersion": info.storage_version}
    return obj
