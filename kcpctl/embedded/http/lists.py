"""Lists: versions, selectors, and pages."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kcpctl.embedded.http.request import ApiRequest
from kcpctl.embedded.http.scope import EVERYTHING, Scope
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.selectors import (
    FieldSelector,
    LabelSelector,
    parse_field_selector,
    parse_label_selector,
)
from kcpctl.embedded.status import (
    Cause,
    StatusError,
    bad_request,
    expired,
    invalid,
    too_large_resource_version,
)
from kcpctl.embedded.store import ObjectKey, Stored
from kcpctl.runtime import Clock

__all__ = ["ListPage", "Selection", "check_list_options", "list_page", "wait_for_revision"]

Json = dict[str, Any]
_TOKEN_VERSION: Final = "meta.k8s.io/v1"
_EXPIRED_TOKEN: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start "
    "a new list without the continue parameter, or use the continue token in this response to "
    "retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)
# How long the real server waits for its cache to reach a version before it says 504.
_TOO_LARGE_WAIT_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a cluster and namespace are meant."""

    cluster: str
    namespace: str | None
    name: str = ""
    labels: LabelSelector | None = None
    fields: FieldSelector | None = None

    @classmethod
    def of(
        cls, request: ApiRequest, info: ResourceInfo, cluster: str, scope: Scope = EVERYTHING
    ) -> Selection:
        """Return the selection of a request within ``scope``; raises 400."""
        return cls(
            cluster=cluster,
            namespace=(request.namespace or None) if info.namespaced else None,
            name=request.name,
            labels=_both(parse_label_selector(request.value("labelSelector")), scope.labels),
            fields=parse_field_selector(request.value("fieldSelector"), info),
        )

    @property
    def filters(self) -> bool:
        """Whether a selector may leave objects of the namespace out."""
        return self.labels is not None or self.fields is not None

    def covers(self, key: ObjectKey) -> bool:
        """Whether an object of this key may be meant."""
        return (self.namespace is None or key.namespace == self.namespace) and (
            not self.name or key.name == self.name
        )

    def matches(self, obj: Json) -> bool:
        """Whether the selectors match an object (in the stored version)."""
        if self.labels is not None and not self.labels(obj["metadata"].get("labels") or {}):
            return False
        return self.fields is None or self.fields(obj)


def _both(one: LabelSelector | None, other: LabelSelector | None) -> LabelSelector | None:
    if one is None or other is None:
        return one or other
    return lambda labels: one(labels) and other(labels)


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page: its objects and the list's metadata."""

    items: list[Stored]
    metadata: Json


def check_list_options(request: ApiRequest, *, watch: bool) -> None:
    """Raise 422 for combinations of parameters that are not allowed."""
    match, version = request.value("resourceVersionMatch"), request.value("resourceVersion")
    causes: list[Cause] = []
    sends_initial = "sendInitialEvents" in request.query
    field = "resourceVersionMatch"
    if watch:
        causes += _watch_causes(match, sends_initial=sends_initial)
    elif match:
        if not version:
            detail = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            causes.append(Cause.forbidden(field, detail))
        if request.value("continue"):
            detail = "resourceVersionMatch is forbidden when continue is provided"
            causes.append(Cause.forbidden(field, detail))
        if match not in ("Exact", "NotOlderThan"):
            causes.append(Cause.not_supported(field, match, ("Exact", "NotOlderThan", "")))
        if match == "Exact" and version == "0":
            detail = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            causes.append(Cause.forbidden(field, detail))
    if sends_initial and not watch:
        causes.append(
            Cause.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
        )
    if causes:
        raise invalid("ListOptions", "meta.k8s.io", "", causes)


def _watch_causes(match: str, *, sends_initial: bool) -> list[Cause]:
    field = "resourceVersionMatch"
    causes: list[Cause] = []
    if sends_initial and not match:
        detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(Cause.forbidden(field, detail))
    if match and not sends_initial:
        detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(Cause.forbidden(field, detail))
    if match not in ("", "NotOlderThan"):
        causes.append(Cause.not_supported(field, match, ("NotOlderThan",)))
    return causes


def _parse_revision(text: str) -> int:
    if not re.fullmatch(r"\d+", text or "0"):
        raise bad_request(
            f'invalid resource version: resourceVersion: Invalid value: "{text}": '
            f'strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text or "0")


async def wait_for_revision(registry: Registry, revision: int, clock: Clock) -> None:
    """Return when the store has reached a revision; raises 504 when it does not."""
    if revision > registry.store.revision:
        await clock.asleep(_TOO_LARGE_WAIT_SECONDS)
        if revision > registry.store.revision:
            raise too_large_resource_version(revision, registry.store.revision)


def _position(key: ObjectKey, selection: Selection) -> str:
    """Return where a key stands in the order of this list."""
    parts = [key.cluster] if selection.cluster == "*" else []
    if selection.namespace is None and key.namespace:
        parts.append(key.namespace)
    return "/".join([*parts, key.name])


def _encode_token(revision: int, position: str) -> str:
    token = {"v": _TOKEN_VERSION, "rv": revision, "start": f"{position}\0"}
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _decode_token(text: str) -> tuple[int, str]:
    """Return the revision and the start of a continue token; raises 400."""
    problem = "invalid continue token: continue key is not valid: "
    bad = re.search(r"[^A-Za-z0-9_-]", text.rstrip("="))
    bare = text.rstrip("=")
    if bad is not None or len(bare) % 4 == 1:
        at = bad.start() if bad is not None else len(bare) - 1
        raise bad_request(f"{problem}illegal base64 data at input byte {at}")
    try:
        data = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
        token = msgspec.json.decode(data)
    except (binascii.Error, msgspec.DecodeError) as error:
        raise bad_request(f"{problem}{error}") from None
    if not isinstance(token, dict) or token.get("v") != _TOKEN_VERSION:
        raise bad_request(f"{problem}server does not recognize this encoded version")
    return int(token.get("rv", 0)), str(token.get("start", ""))


def _select(
    pairs: Iterable[tuple[ObjectKey, Stored]], selection: Selection, start: str
) -> list[tuple[ObjectKey, Stored]]:
    return [
        (key, stored)
        for key, stored in pairs
        if selection.covers(key)
        and (not start or _position(key, selection) + "\0" > start)
        and selection.matches(stored.obj)
    ]


async def list_page(
    registry: Registry, info: ResourceInfo, request: ApiRequest, selection: Selection, clock: Clock
) -> ListPage:
    """Return the page that a request asks for; raises 400, 410, 422 and 504."""
    limit = max(request.integer("limit") or 0, 0)
    request.integer("timeoutSeconds")
    check_list_options(request, watch=False)
    version, match = request.value("resourceVersion"), request.value("resourceVersionMatch")
    token = request.value("continue")
    wanted = _parse_revision(version)
    start, exact = "", 0
    if token:
        exact, start = _decode_token(token)
        if version not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
    elif version == "0":
        limit = 0  # served from memory as a whole, as the real server does
    elif match == "Exact" or (wanted and limit and not match):
        exact = wanted
    await wait_for_revision(registry, wanted, clock)
    store = registry.store
    where = (selection.cluster, selection.namespace)
    if exact > 0 and exact < store.revision:
        try:
            pairs = _select(store.list_at(info.storage_key, exact, *where), selection, start)
        except StatusError as error:
            if not token:
                raise
            fresh = _encode_token(-1, start.removesuffix("\0"))
            raise expired(_EXPIRED_TOKEN, continue_token=fresh) from error
    else:
        exact = store.revision
        pairs = _select(store.list(info.storage_key, *where), selection, start)
    return _page(pairs, limit, exact, selection)


def _page(
    pairs: list[tuple[ObjectKey, Stored]], limit: int, revision: int, selection: Selection
) -> ListPage:
    metadata: Json = {"resourceVersion": str(revision)}
    if limit and len(pairs) > limit:
        metadata["continue"] = _encode_token(revision, _position(pairs[limit - 1][0], selection))
        if not selection.filters:
            metadata["remainingItemCount"] = len(pairs) - limit
        pairs = pairs[:limit]
    return ListPage([stored for _, stored in pairs], metadata)
