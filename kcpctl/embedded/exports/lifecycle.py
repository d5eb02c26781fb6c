"""What follows from a commit for exports, bindings and endpoint slices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kcpctl.embedded.backend import Backend, Event
from kcpctl.embedded.crd_lifecycle import CrdLifecycle
from kcpctl.embedded.crds import CRD_KEY
from kcpctl.embedded.deletion import Deleter
from kcpctl.embedded.exports.binding import Binder
from kcpctl.embedded.exports.conditions import BINDING_UP_TO_DATE, CLAIMS_APPLIED, is_true
from kcpctl.embedded.exports.directory import Exports, Place, identity_of, reference
from kcpctl.embedded.exports.kinds import (
    APIBINDINGS_KEY,
    APIEXPORTS_KEY,
    ENDPOINT_SLICES_KEY,
    SCHEMAS_KEY,
)
from kcpctl.embedded.exports.offering import Offering
from kcpctl.embedded.writer import Writer

__all__ = ["ExportLifecycle"]

Json = dict[str, Any]


class ExportLifecycle:
    """Follows everything that exports and bindings depend on (a hook of the backend).

    Whatever a commit makes possible (an export that appears, a name that gets free) has happened
    when the turn of the loop that made it ends.
    """

    def __init__(
        self,
        backend: Backend,
        writer: Writer,
        deleter: Deleter,
        crds: CrdLifecycle,
        exports: Exports,
    ) -> None:
        self._backend = backend
        self._crds = crds
        self._exports = exports
        self._offering = Offering(backend, writer, exports)
        self._binder = Binder(backend, deleter, exports)
        self._handlers = {
            APIEXPORTS_KEY: self._export,
            APIBINDINGS_KEY: self._binding,
            SCHEMAS_KEY: self._schema,
            ENDPOINT_SLICES_KEY: self._slice,
            CRD_KEY: self._crd,
            "secrets": self._secret,
        }

    def load(self) -> None:
        """Serve what the bindings had bound that the store came with."""
        self._exports.load()
        for key, stored in self._backend.store.list(APIBINDINGS_KEY):
            self._binder.serve(key.cluster, stored.obj)

    def serve_at(self, server_url: str) -> None:
        """Take over the server's address, also into what an earlier life wrote."""
        self._offering.server_url = server_url
        self._offering.reconcile_slices()

    def on_event(self, event: Event) -> None:
        """Follow one commit."""
        self._exports.follow(event)
        handler = self._handlers.get(event.info.storage_key)
        if handler is not None:
            handler(event)
        elif event.info.identity and event.type == "DELETED":
            self._bound_object_gone(event)

    def _reconcile_bindings(self, places: Iterable[Place]) -> None:
        for place in sorted(places):
            self._binder.reconcile(*place)

    def _export(self, event: Event) -> None:
        cluster, name = event.cluster, event.name
        if event.type != "DELETED":
            self._offering.reconcile(cluster, name)
        if event.type != "MODIFIED":
            self._offering.reconcile_slices(cluster, name)
        self._reconcile_bindings(self._exports.consumers(cluster, name))
        if identity_of(event.object) != identity_of(event.old or {}):
            self._reconcile_bindings(self._without(CLAIMS_APPLIED))

    def _without(self, condition: str, cluster: str = "*") -> list[Place]:
        """Return the bindings that do not have a condition."""
        return [
            Place(key.cluster, key.name)
            for key, stored in self._backend.store.list(APIBINDINGS_KEY, cluster)
            if not is_true(stored.obj.get("status") or {}, condition)
        ]

    def _binding(self, event: Event) -> None:
        cluster, name = event.cluster, event.name
        if event.type == "DELETED":
            self._binder.forget(cluster, name)
            self._reconcile_bindings(self._without(BINDING_UP_TO_DATE, cluster))
            self._crds.recheck(cluster)
        else:
            self._binder.reconcile(cluster, name)
        if event.type != "MODIFIED":
            path, export = reference(cluster, event.object)
            export_cluster = self._exports.resolve(path)
            if export_cluster is not None:
                self._offering.reconcile_slices(export_cluster, export)

    def _schema(self, event: Event) -> None:
        for place, export in self._exports.exports(event.cluster):
            resources = (export.get("spec") or {}).get("resources") or ()
            if any(resource["schema"] == event.name for resource in resources):
                self._reconcile_bindings(self._exports.consumers(*place))

    def _slice(self, event: Event) -> None:
        if event.type != "DELETED":
            self._offering.reconcile_slice(event.cluster, event.name)
        else:
            self._offering.reconcile(event.cluster, event.name)

    def _crd(self, event: Event) -> None:
        if event.type == "DELETED":
            self._reconcile_bindings(self._without(BINDING_UP_TO_DATE, event.cluster))

    def _secret(self, event: Event) -> None:
        wanted = {"namespace": event.namespace, "name": event.name}
        for place, export in self._exports.exports(event.cluster):
            identity = (export.get("spec") or {}).get("identity") or {}
            if identity.get("secretRef") == wanted:
                self._offering.reconcile(*place)

    def _bound_object_gone(self, event: Event) -> None:
        name = self._backend.kinds.holder(event.cluster, event.info.storage_key)
        binding = self._exports.binding(event.cluster, name) if name else None
        if binding is not None and binding["metadata"].get("deletionTimestamp"):
            self._binder.reconcile(event.cluster, binding["metadata"]["name"])
