"""The consumer's side: from an APIBinding to resources that are served."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kcpctl.embedded.backend import Backend
from kcpctl.embedded.crds import CRD_KEY
from kcpctl.embedded.deletion import Deleter
from kcpctl.embedded.exports.claims import ClaimKey, apply_claims
from kcpctl.embedded.exports.conditions import (
    BINDING_UP_TO_DATE,
    EXPORT_VALID,
    is_true,
    mark_false,
    mark_true,
    summarize,
)
from kcpctl.embedded.exports.directory import Exports, identity_of, reference
from kcpctl.embedded.exports.kinds import APIBINDINGS_KEY
from kcpctl.embedded.exports.naming import (
    Names,
    conflict,
    names_of_crd,
    names_of_infos,
    names_of_schema,
)
from kcpctl.embedded.exports.removal import Remover
from kcpctl.embedded.exports.schemas import storage_versions
from kcpctl.embedded.exports.writing import put_status

__all__ = ["Binder"]

Json = dict[str, Any]
_COMPLETED: Final = "InitialBindingCompleted"


class Binder:
    """Brings APIBindings to what they should be, and serves what they have bound.

    A binding goes by the phases Binding and Bound and never back: what is bound stays served when
    the export goes, and new schemas of the export are taken over. A resource belongs to the first
    binding or CRD in its workspace; who comes later waits. A binding that is being deleted takes
    its objects with it, and goes when the last of them has gone.
    """

    def __init__(self, backend: Backend, deleter: Deleter, exports: Exports) -> None:
        self._backend = backend
        self._remover = Remover(backend, deleter)
        self._exports = exports
        self._users: dict[str, set[tuple[str, str]]] = {}  # bindings by the uids of schemas

    def serve(self, cluster: str, binding: Json) -> None:
        """Serve what a binding has bound."""
        name = binding["metadata"]["name"]
        infos = self._exports.infos_of_binding(binding)
        if list(self._backend.kinds.bound(cluster).get(name, ())) == infos:
            return
        self._backend.kinds.bind(cluster, name, infos)
        bound = (binding.get("status") or {}).get("boundResources") or ()
        uids = {one["schema"]["UID"] for one in bound}
        self._note_users(cluster, name, uids)

    def _note_users(self, cluster: str, name: str, uids: set[str]) -> None:
        """Forget schemas that nothing is bound to any more."""
        for uid in uids:
            self._users.setdefault(uid, set()).add((cluster, name))
        for uid, users in list(self._users.items()):
            if uid not in uids:
                users.discard((cluster, name))
                if not users:
                    del self._users[uid]
                    self._exports.schemas.release(uid)

    def forget(self, cluster: str, name: str) -> None:
        """Serve no longer what a binding had bound: it is gone."""
        for info in self._backend.kinds.unbind(cluster, name):
            self._backend.store.end_watches(info.storage_key, cluster)
        self._note_users(cluster, name, set())

    def reconcile(self, cluster: str, name: str) -> None:
        """Bring a binding to what it should be, a step with each commit."""
        binding = self._exports.binding(cluster, name)
        if binding is None:
            return
        self.serve(cluster, binding)
        if binding["metadata"].get("deletionTimestamp"):
            self._remover.clean_up(cluster, binding)
            return
        status = dict(binding.get("status") or {})
        now = self._backend.now()
        if not status.get("phase"):
            status["phase"] = "Binding"
            message = "Waiting for API(s) to be established"
            mark_false(status, _COMPLETED, "WaitingForEstablished", message, now, severity="Info")
        else:
            self._bind(cluster, binding, status, now)
            summarize(status, _COMPLETED, now)
        put_status(self._backend, APIBINDINGS_KEY, cluster, binding, status)

    # -- binding --------------------------------------------------------------------------

    def _bind(self, cluster: str, binding: Json, status: Json, now: str) -> None:
        path, name = wanted = reference(cluster, binding)
        found = self._exports.export_of(wanted)
        if found is None:
            message = f"APIExport {path}|{name} not found"
            mark_false(status, EXPORT_VALID, "APIExportNotFound", message, now)
            return
        export_cluster, export = found
        spec = export.get("spec") or {}
        claims = spec.get("permissionClaims")
        if claims:
            status["exportPermissionClaims"] = claims
        else:
            status.pop("exportPermissionClaims", None)
        apply_claims(status, binding, export, lambda key: self._is_known(cluster, key), now)
        identity = identity_of(export)
        if not identity:
            message = f"APIExport {path}|{name} is missing status.identityHash"
            mark_false(
                status, EXPORT_VALID, "MissingIdentityHash", message, now, severity="Warning"
            )
            return
        status["apiExportClusterName"] = export_cluster
        schemas = []
        for resource in spec.get("resources") or ():
            schema = self._exports.schema(export_cluster, resource["schema"])
            if schema is None:
                message = (
                    "Invalid APIExport. Please contact the APIExport owner to resolve: "
                    f'APIResourceSchema "{resource["schema"]}" not found'
                )
                mark_false(status, EXPORT_VALID, "InternalError", message, now)
                return
            schemas.append(schema)
        self._bind_schemas(cluster, binding, status, schemas, identity, now)

    def _is_known(self, cluster: str, key: ClaimKey) -> bool:
        """Whether a claim is about a resource that there is."""
        if key.identity:
            return bool(self._exports.identified(key.group, key.resource, key.identity))
        infos = self._backend.kinds.infos(cluster)
        return any((i.group, i.plural) == (key.group, key.resource) for i in infos)

    def _bind_schemas(
        self,
        cluster: str,
        binding: Json,
        status: Json,
        schemas: Iterable[Json],
        identity: str,
        now: str,
    ) -> None:
        """Bind what is free, and say what is not."""
        own_name = binding["metadata"]["name"]
        holders, others = self._others(cluster, own_name)
        skipped: dict[str, str] = {}
        for schema in schemas:
            names = names_of_schema(schema)
            resource = f"{names.plural}.{names.group}" if names.group else names.plural
            if resource in holders:
                skipped[resource] = holders[resource]
                continue
            problem = conflict(names, others)
            if problem:
                self._not_bound(status, f"Unable to bind APIs: {problem}", now)
                return
            self._exports.schemas.keep(schema)
            _put_bound(status, schema, identity)
        mark_true(status, EXPORT_VALID, now)
        if skipped:
            shown = " ".join(f"{key}:{skipped[key]}" for key in sorted(skipped))
            message = (
                "Unable to bind APIs because they are bound by other APIBindings or CRDs: "
                f"map[{shown}]"
            )
            self._not_bound(status, message, now)
            return
        mark_true(status, _COMPLETED, now)
        mark_true(status, BINDING_UP_TO_DATE, now)
        status["phase"] = "Bound"

    def _not_bound(self, status: Json, message: str, now: str) -> None:
        mark_false(status, BINDING_UP_TO_DATE, "NamingConflicts", message, now)
        if not is_true(status, _COMPLETED):
            mark_false(status, _COMPLETED, "NamingConflicts", message, now)

    def _others(self, cluster: str, own_name: str) -> tuple[dict[str, str], list[Names]]:
        """Return who holds which resource in a workspace, and all names that are taken."""
        holders: dict[str, str] = {}
        names: list[Names] = []
        for key, stored in self._backend.store.list(APIBINDINGS_KEY, cluster):
            if key.name != own_name:
                infos = self._backend.kinds.bound(cluster).get(key.name, ())
                names += names_of_infos(stored.obj, infos)
                holders |= {info.group_resource: f"{{{key.name} false}}" for info in infos}
        for key, stored in self._backend.store.list(CRD_KEY, cluster):
            accepted = names_of_crd(stored.obj)
            names.append(accepted)
            if accepted.plural:
                holders[key.name] = "{ true}"
        return holders, names


def _put_bound(status: Json, schema: Json, identity: str) -> None:
    """Note in a status what is bound."""
    spec, meta = schema["spec"], schema["metadata"]
    group, plural = spec["group"], spec["names"]["plural"]
    bound = {(one["group"], one["resource"]): one for one in status.get("boundResources") or ()}
    before = bound.get((group, plural), {}).get("storageVersions") or ()
    bound[group, plural] = {
        "group": group,
        "resource": plural,
        "schema": {"name": meta["name"], "UID": meta["uid"], "identityHash": identity},
        "storageVersions": sorted({*before, *storage_versions(schema)}),
    }
    status["boundResources"] = list(bound.values())
