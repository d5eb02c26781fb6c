"""What an export's virtual workspace serves: its own resources, claimed ones, and bindings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from kcpctl.embedded.exports.acceptance import (
    GroupResource,
    accepted_claim,
    claimed,
    is_bound,
)
from kcpctl.embedded.exports.claim_labels import (
    BINDING_LABEL,
    OWN_BINDING_VALUE,
    binding_value,
    claim_label,
    claim_value,
)
from kcpctl.embedded.exports.claims import exported_claims
from kcpctl.embedded.exports.directory import Exports, Place, identity_of
from kcpctl.embedded.exports.kinds import APIEXPORTS_KEY, GROUP, SCHEMAS_KEY
from kcpctl.embedded.http.request import ApiRequest
from kcpctl.embedded.http.scope import Scope
from kcpctl.embedded.kinds import ALL_VERBS, READ_VERBS, ResourceInfo
from kcpctl.embedded.registry import Event, Registry
from kcpctl.embedded.status import (
    StatusError,
    forbidden,
    not_found,
    not_served,
    page_not_found,
)
from kcpctl.logicalcluster import ROOT, WILDCARD

__all__ = ["ExportViews", "Served"]

Json = dict[str, Any]

_BINDINGS: Final = GroupResource(GROUP, "apibindings")
_CLAIMABLE: Final = frozenset(
    GroupResource(group, plural)
    for group, plurals in {
        "": "configmaps events namespaces resourcequotas secrets serviceaccounts",
        "apiextensions.k8s.io": "customresourcedefinitions",
        GROUP: "apibindings apiexports apiresourceschemas",
        "authentication.k8s.io": "tokenreviews",
        "authorization.k8s.io": "localsubjectaccessreviews subjectaccessreviews",
        "certificates.k8s.io": "certificatesigningrequests",
        "coordination.k8s.io": "leases",
        "core.kcp.io": "logicalclusters",
        "rbac.authorization.k8s.io": "clusterrolebindings clusterroles rolebindings roles",
    }.items()
    for plural in plurals.split()
)
"""What can be claimed without an identity: kcp's table, as far as this server has the kinds."""


@dataclass(frozen=True, slots=True)
class Served:
    """A resource of a virtual workspace.

    Claimed ones (``values`` is not empty) show the objects whose ``label`` has one of the values.
    """

    info: ResourceInfo
    label: str = ""
    values: frozenset[str] = frozenset()

    @property
    def resource(self) -> GroupResource:
        """The resource in any version."""
        return GroupResource(self.info.group, self.info.plural)

    def scope(self, selector: Json | None = None) -> Scope:
        """Return the objects that are shown; ``selector`` is the accepted claim's."""
        if not self.values:
            return Scope(forwarded=True)
        return Scope(lambda labels: labels.get(self.label) in self.values, selector, forwarded=True)


@lru_cache(maxsize=1024)
def _without_endpoints(info: ResourceInfo) -> ResourceInfo:
    """Return a resource without the endpoints that kcp does not serve here: all but status."""
    return replace(info, subresources=info.subresources & {"status"})


@lru_cache(maxsize=1024)
def _with_all_verbs(info: ResourceInfo) -> ResourceInfo:
    return replace(info, verbs=ALL_VERBS)


@lru_cache(maxsize=8)
def _read_only(info: ResourceInfo) -> ResourceInfo:
    return replace(info, subresources=frozenset(), verbs=READ_VERBS)


@dataclass(frozen=True, slots=True, eq=False)
class _Follower:
    """A running watch, with what its resource was when it began."""

    key: Place
    request: ApiRequest
    state: tuple[object, ...] | None
    end: Callable[[], None]


class ExportViews:
    """The virtual workspaces of all APIExports. Event loop's thread only."""

    def __init__(self, registry: Registry, exports: Exports) -> None:
        self._registry = registry
        self._exports = exports
        self._claimable: dict[GroupResource, list[ResourceInfo]] = {}
        for info in registry.infos(ROOT):
            resource = GroupResource(info.group, info.plural).normal
            if resource in _CLAIMABLE:
                self._claimable.setdefault(resource, []).append(info)
        self._followers: set[_Follower] = set()
        registry.subscribe(self._changed)

    def served(self, key: Place) -> list[Served]:
        """Return what an export's virtual workspace has; raises 404 for one without identity."""
        export = self._exports.export(*key)
        if export is None or not identity_of(export):
            raise page_not_found()
        found = [Served(_without_endpoints(info)) for info in self._exports.infos(*key)]
        own = {one.resource for one in found}
        found += [one for one in self._claimed(key, export) if one.resource not in own]
        if not any(one.resource == _BINDINGS for one in found):
            shown = frozenset({binding_value(key)})
            found += [
                Served(_read_only(info), BINDING_LABEL, shown)
                for info in self._claimable.get(_BINDINGS, ())
            ]
        return found

    def _claimed(self, key: Place, export: Json) -> Iterator[Served]:
        for claim in exported_claims(export).values():
            for info in self._infos_of(claim):
                is_binding = (info.group, info.plural) == _BINDINGS
                values = {claim_value(claim), *([OWN_BINDING_VALUE] if is_binding else [])}
                yield Served(_without_endpoints(info), claim_label(key), frozenset(values))

    def _infos_of(self, claim: Json) -> Sequence[ResourceInfo]:
        """Return the versions of a claimed resource, for Events those of both groups."""
        resource, identity = claimed(claim), claim.get("identityHash")
        if resource.normal in _CLAIMABLE:
            return self._claimable.get(resource.normal, ())
        return self._exports.identified(*resource, identity) if identity else ()

    def shown(self, key: Place) -> list[ResourceInfo]:
        """Return what discovery shows: every verb, whatever a claim or the kind allows."""
        return [
            one.info if one.label == BINDING_LABEL else _with_all_verbs(one.info)
            for one in self.served(key)
        ]

    def is_unknown(self, info: ResourceInfo) -> bool:
        """Whether a resource of an export is one that nobody has bound."""
        name = f"{info.plural}:{info.identity}"
        find = self._registry.backend.kinds.find
        return bool(info.identity) and find(WILDCARD, info.group, info.version, name) is None

    def find(self, key: Place, request: ApiRequest) -> Served | None:
        """Return the resource that a request is about, None when it is not served."""
        wanted = (request.group, request.version, request.plural)
        for one in self.served(key):
            if (one.info.group, one.info.version, one.info.plural) == wanted:
                return one
        return None

    @contextmanager
    def following(self, key: Place, request: ApiRequest, end: Callable[[], None]) -> Iterator[None]:
        """Call ``end`` once the export does not serve what a request watches, or has changed it."""
        follower = _Follower(key, request, self._state(key, request), end)
        self._followers.add(follower)
        try:
            yield
        finally:
            self._followers.discard(follower)

    def _changed(self, event: Event) -> None:
        if event.info.storage_key in (APIEXPORTS_KEY, SCHEMAS_KEY):
            for one in list(self._followers):
                if self._state(one.key, one.request) != one.state:
                    self._followers.discard(one)
                    one.end()

    def _state(self, key: Place, request: ApiRequest) -> tuple[object, ...] | None:
        try:
            found = self.find(key, request)
        except StatusError:
            return None
        if found is None:
            return None
        return (found.info.storage_key, found.info.crd, found.label, found.values)

    def open(self, key: Place, consumer: str, request: ApiRequest) -> tuple[ResourceInfo, Scope]:
        """Return what a request works on; raises 400, 403 and 404."""
        served = None if request.malformed else self.find(key, request)
        if served is None:
            raise page_not_found()
        info = served.info
        if request.subresource and request.subresource not in info.subresources:
            raise not_found(info, request.name)
        if consumer == WILDCARD:
            if request.verb not in ("list", "watch"):
                raise not_served()
            if info.namespaced and request.namespace:
                message = (
                    "cross-cluster LIST and WATCH are required to be cross-namespace, not scoped "
                    f"to namespace {request.namespace}"
                )
                raise StatusError(400, "", message)
            return info, served.scope()
        selector = None
        if request.verb not in READ_VERBS:
            selector = self._selector(key, consumer, served, request)
        return self._in_consumer(served, consumer, request), served.scope(selector)

    def _in_consumer(self, served: Served, consumer: str, request: ApiRequest) -> ResourceInfo:
        """Return a resource with the schema that the consumer has bound."""
        info = served.info
        found = self._registry.backend.kinds.find(consumer, info.group, info.version, info.plural)
        if found is not None and found.storage_key == info.storage_key:
            return info if not info.identity else _without_endpoints(found)
        if request.verb in ("list", "watch"):
            return info  # nothing is there
        raise not_served()

    def _selector(
        self, key: Place, consumer: str, served: Served, request: ApiRequest
    ) -> Json | None:
        """Return the selector that a written object has to match."""
        bindings = self._exports.bindings_in(consumer, *key)
        if not bindings:
            message = (
                "could not find suitable apibinding in target logical cluster: no suitable binding "
                "found"
            )
            raise forbidden(served.info, request.name, message)
        resource = GroupResource(request.group, request.plural)
        if is_bound(bindings[0], resource):
            return None
        claim = accepted_claim(bindings[0], resource)
        return None if claim is None else claim.get("selector")
