"""What a virtual workspace shows of a resource, and what it asks of the objects that it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from kcpctl.embedded.exports.acceptance import selects
from kcpctl.embedded.selectors import LabelSelector
from kcpctl.embedded.status import ResourceName, forbidden

__all__ = ["EVERYTHING", "Scope"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of a resource's objects.

    ``labels`` tells which ones are there at all. ``selector`` (of an accepted claim) is what an
    object has to match that is created, updated or deleted. ``forwarded`` writes go on from a
    virtual workspace to the server behind it.
    """

    labels: LabelSelector | None = None
    selector: Json | None = None
    forwarded: bool = False

    def shows(self, obj: Json) -> bool:
        """Whether an object is in here."""
        return self.labels is None or self.labels(obj["metadata"].get("labels") or {})

    def bring_in(self, resource: ResourceName, obj: Json) -> None:
        """Give an object the labels that it lacks to be in here; raises 403 when that fails.

        What an expression asks for cannot be known: who writes has to satisfy it.
        """
        if self.selector is None or self.selector.get("matchAll"):
            return
        meta = obj["metadata"]
        labels: dict[str, str] = meta.get("labels") or {}
        wanted: dict[str, str] = self.selector.get("matchLabels") or {}
        for key, value in wanted.items():
            if labels.get(key, value) != value:
                message = f"protected label {key} must have value {value}"
                raise forbidden(resource, meta.get("name", ""), message)
        if wanted:
            meta["labels"] = {**wanted, **labels}
        self.check(resource, obj)

    def check(self, resource: ResourceName, obj: Json) -> None:
        """Raise 403 unless an object matches the selector."""
        meta = obj["metadata"]
        if self.selector is not None and not selects(self.selector, meta.get("labels") or {}):
            message = "object does not match required labels"
            raise forbidden(resource, meta.get("name", ""), message)


EVERYTHING: Final = Scope()
