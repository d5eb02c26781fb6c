"""metadata.managedFields: who owns which fields, in which order, since when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from kcpctl.embedded.patch.fieldset import FieldSet, field

__all__ = ["Entry", "Manager", "decode", "encode", "strip", "timestamp"]

# What every object has, or what only the server writes: nobody owns it.
_STRIPPED: Final = (
    (field("apiVersion"),),
    (field("kind"),),
    (field("metadata"),),
    *(
        (field("metadata"), field(name))
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        )
    ),
)


@dataclass(frozen=True, slots=True)
class Manager:
    """Who wrote, how, and through which endpoint. An applier is one in all versions."""

    name: str
    operation: str
    subresource: str = ""
    api_version: str = ""

    @classmethod
    def of(cls, name: str, operation: str, api_version: str, subresource: str) -> Manager:
        """Return the identity under which a write is recorded."""
        return cls(name, operation, subresource, "" if operation == "Apply" else api_version)

    def __str__(self) -> str:
        """As conflicts name it."""
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(frozen=True, slots=True)
class Entry:
    """What a manager owns. ``time`` is RFC 3339 text, None when it never changed anything."""

    fields: FieldSet
    api_version: str
    time: str | None = None

    def owning(self, fields: FieldSet) -> Entry:
        """Return the entry with other fields."""
        return replace(self, fields=fields)


def timestamp(now: float) -> str:
    """Return wall clock seconds as managedFields write them: whole seconds."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def decode(obj: Mapping[str, Any]) -> dict[Manager, Entry]:
    """Return an object's managers; raises ValueError for entries that are none."""
    managers: dict[Manager, Entry] = {}
    for item in (obj.get("metadata") or {}).get("managedFields") or ():
        operation = item.get("operation")
        if operation not in {"Apply", "Update"} or not isinstance(item.get("fieldsV1", {}), dict):
            raise ValueError(f"managedFields has an entry that is not valid: {item}")
        api_version = item.get("apiVersion", "")
        name, subresource = item.get("manager", ""), item.get("subresource", "")
        manager = Manager.of(name, operation, api_version, subresource)
        fields = FieldSet.decode(item.get("fieldsV1") or {})
        managers[manager] = Entry(fields, api_version, item.get("time"))
    return managers


def encode(managers: Mapping[Manager, Entry]) -> list[dict[str, Any]]:
    """Return managedFields: appliers first, then by time and name."""
    rows = []
    for manager, entry in managers.items():
        row: dict[str, Any] = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": entry.api_version,
        }
        if entry.time:
            row["time"] = entry.time
        row |= {"fieldsType": "FieldsV1", "fieldsV1": entry.fields.encode()}
        if manager.subresource:
            row["subresource"] = manager.subresource
        rows.append(row)
    order = ("operation", "time", "manager", "apiVersion", "subresource")
    return sorted(rows, key=lambda row: tuple(row.get(key, "") for key in order))


def strip(fields: FieldSet) -> FieldSet:
    """Return the fields that somebody can own."""
    for path in _STRIPPED:
        fields = fields.without(path)
    return fields
