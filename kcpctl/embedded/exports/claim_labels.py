"""The labels by which an export's virtual workspace knows the objects that it may show.

Objects that an accepted claim admits carry a label of the export, and so do its APIBindings. A
virtual workspace is then an ordinary label selector: what it shows comes and goes, in lists and in
running watches, as the label does.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from kcpctl.embedded.backend import Backend, Event
from kcpctl.embedded.exports.acceptance import GroupResource, claimed, selects
from kcpctl.embedded.exports.claims import accepted_claims
from kcpctl.embedded.exports.directory import Exports, Place, reference
from kcpctl.embedded.exports.kinds import APIBINDINGS_KEY
from kcpctl.embedded.kinds import ResourceInfo

__all__ = [
    "BINDING_LABEL",
    "OWN_BINDING_VALUE",
    "ClaimLabels",
    "binding_value",
    "claim_label",
    "claim_value",
]

Json = dict[str, Any]
_CLAIM_PREFIX: Final = "claimed.internal.apis.kcp.io/"
BINDING_LABEL: Final = "internal.apis.kcp.io/export"
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _base62(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


@lru_cache(maxsize=1024)
def _hash(text: str) -> str:
    """Return kcp's short hash of a text: SHA-224 in base 62."""
    return _base62(hashlib.sha224(text.encode()).digest())


# What kcp puts on the bindings of an export that has no claim on bindings: a constant.
OWN_BINDING_VALUE: Final = _base62(bytes([*range(10), *range(10), *range(8)]))


def claim_label(export: Place) -> str:
    """Return the label that objects carry which an export's claim admits."""
    return f"{_CLAIM_PREFIX}{binding_value(export)}"


def binding_value(export: Place) -> str:
    """Return the value of ``BINDING_LABEL`` on the bindings of an export."""
    return _hash(f"{export.cluster}:{export.name}")


def claim_value(claim: Json) -> str:
    """Return the value of a claim's label; verbs and selectors are no part of it."""
    fields: Json = {"group": claim["group"]} if claim.get("group") else {}
    fields |= {"resource": claim.get("resource", ""), "verbs": None}
    if claim.get("identityHash"):
        fields["identityHash"] = claim["identityHash"]
    return _hash(msgspec.json.encode(fields).decode())


@dataclass(frozen=True, slots=True)
class _Rule:
    """An accepted claim: objects that ``selector`` admits carry the label."""

    label: str
    value: str
    selector: Json


_Rules = dict[GroupResource, list[_Rule]]


class ClaimLabels:
    """Keeps the labels of claimed objects, and of bindings, what the bindings say.

    ``put_on`` gives them to an object that is about to be stored, so nobody can remove or forge
    them. ``on_event`` (a hook of the backend) follows the bindings: when a claim is accepted,
    withdrawn or gone with its binding, the objects are written again, and whoever lists or
    watches by these labels sees them come or go. Event loop's thread only.
    """

    def __init__(self, backend: Backend, exports: Exports) -> None:
        self._backend = backend
        self._exports = exports
        self._rules: dict[str, _Rules] = {}

    def load(self) -> None:
        """Take over what the store came with."""
        for cluster in {key.cluster for key, _ in self._backend.store.list(APIBINDINGS_KEY)}:
            self._rules[cluster] = self._read(cluster)

    def put_on(self, info: ResourceInfo, cluster: str, obj: Json) -> None:
        """Bring the labels of an object (private to the caller) to what they have to be."""
        meta = obj["metadata"]
        labels: dict[str, str] = meta.get("labels") or {}
        wanted = self._wanted(info, cluster, obj)
        kept = {
            key: value
            for key, value in labels.items()
            if key in wanted or not key.startswith(_CLAIM_PREFIX)
        }
        if (new := {**kept, **wanted}) != labels:
            meta["labels"] = new
            if not new:
                del meta["labels"]

    def _wanted(self, info: ResourceInfo, cluster: str, obj: Json) -> dict[str, str]:
        resource = GroupResource(info.group, info.plural).normal
        labels = obj["metadata"].get("labels") or {}
        rules = self._rules.get(cluster, {}).get(resource, ())
        wanted = {rule.label: rule.value for rule in rules if selects(rule.selector, labels)}
        if info.storage_key == APIBINDINGS_KEY:
            export = self._export_of(cluster, obj)
            if export is not None:
                # Whoever exports may see who binds, whether there is a claim on bindings or not.
                wanted.setdefault(claim_label(export), OWN_BINDING_VALUE)
                wanted[BINDING_LABEL] = binding_value(export)
        return wanted

    def on_event(self, event: Event) -> None:
        """Follow one commit."""
        if event.info.storage_key != APIBINDINGS_KEY:
            return
        cluster = event.cluster
        old, new = self._rules.pop(cluster, {}), self._read(cluster)
        if new:
            self._rules[cluster] = new
        changed = {one for one in {*old, *new} if old.get(one) != new.get(one)}
        if changed:
            self._write_again(cluster, changed)

    def _export_of(self, cluster: str, binding: Json) -> Place | None:
        found = self._exports.export_of(reference(cluster, binding))
        return None if found is None else Place(found[0], found[1]["metadata"]["name"])

    def _read(self, cluster: str) -> _Rules:
        rules: defaultdict[GroupResource, list[_Rule]] = defaultdict(list)
        for _, stored in self._backend.store.list(APIBINDINGS_KEY, cluster):
            export = self._export_of(cluster, stored.obj)
            if export is None:
                continue
            for claim in accepted_claims(stored.obj).values():
                rule = _Rule(claim_label(export), claim_value(claim), claim.get("selector") or {})
                rules[claimed(claim).normal].append(rule)
        return dict(rules)

    def _write_again(self, cluster: str, resources: Collection[GroupResource]) -> None:
        """Store the objects of resources with the labels that they have to have now."""
        backend = self._backend
        keys = {
            info.storage_key
            for info in backend.kinds.infos(cluster)
            if GroupResource(info.group, info.plural) in resources
        }
        for key in sorted(keys):
            info = backend.kinds.storage_info(cluster, key)
            assert info is not None
            for _, stored in list(backend.store.list(key, cluster)):
                obj = {**stored.obj, "metadata": dict(stored.obj["metadata"])}
                self.put_on(info, cluster, obj)
                if obj["metadata"] != stored.obj["metadata"]:
                    backend.put(info, cluster, obj)
