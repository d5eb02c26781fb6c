"""The provider's side: identities of APIExports, and where their virtual workspaces are."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

from kcpctl.embedded.backend import Backend
from kcpctl.embedded.exports.conditions import EXPORT_VALID, mark_false, mark_true
from kcpctl.embedded.exports.directory import Exports, Place, slice_reference
from kcpctl.embedded.exports.kinds import APIEXPORTS_KEY, ENDPOINT_SLICES_KEY, GROUP
from kcpctl.embedded.exports.writing import put, put_status
from kcpctl.embedded.pipeline import WriteOptions
from kcpctl.embedded.store import ObjectKey
from kcpctl.embedded.writer import Writer
from kcpctl.logicalcluster import PATH_ANNOTATION

__all__ = ["Offering"]

Json = dict[str, Any]
_IDENTITY_NAMESPACE: Final = "kcp-system"
_SKIP_SLICE: Final = "apiexports.apis.kcp.io/skip-endpointslice"
_IDENTITY_BITS: Final = 256


class Offering:
    """Brings APIExports and APIExportEndpointSlices to what they should be.

    Every export has an identity: the hash of a secret, made here unless the export refers to one.
    Every export has a slice, which lists this server only while something is bound to the export.
    """

    def __init__(self, backend: Backend, writer: Writer, exports: Exports) -> None:
        self.server_url = ""
        self._backend = backend
        self._writer = writer
        self._exports = exports

    def _create(self, cluster: str, storage_key: str, namespace: str, body: Json) -> None:
        info = self._backend.kinds.storage_info(cluster, storage_key)
        assert info is not None
        self._writer.create(info, cluster, namespace, body, WriteOptions(field_manager="kcp"))

    # -- exports --------------------------------------------------------------------------

    def reconcile(self, cluster: str, name: str) -> None:
        """Bring an APIExport to what it should be, a step with each commit."""
        export = self._exports.export(cluster, name)
        if export is None or export["metadata"].get("deletionTimestamp"):
            return
        spec = export.get("spec") or {}
        ref = (spec.get("identity") or {}).get("secretRef")
        if not ref:
            self._give_identity(cluster, export)
            return
        self._verify(cluster, export, ref)
        self._give_slice(cluster, export)

    def _give_identity(self, cluster: str, export: Json) -> None:
        meta, store = export["metadata"], self._backend.store
        name = meta["name"]
        if store.get("namespaces", ObjectKey(cluster, "", _IDENTITY_NAMESPACE)) is None:
            self._create(cluster, "namespaces", "", {"metadata": {"name": _IDENTITY_NAMESPACE}})
        if store.get("secrets", ObjectKey(cluster, _IDENTITY_NAMESPACE, name)) is None:
            bits = self._backend.rng.getrandbits(_IDENTITY_BITS)
            key = base64.urlsafe_b64encode(bits.to_bytes(_IDENTITY_BITS // 8, "big")).rstrip(b"=")
            secret = {
                "metadata": {"name": name, "namespace": _IDENTITY_NAMESPACE},
                "type": "Opaque",
                "data": {"key": base64.b64encode(key).decode()},
            }
            self._create(cluster, "secrets", _IDENTITY_NAMESPACE, secret)
        ref = {"namespace": _IDENTITY_NAMESPACE, "name": name}
        spec = {**(export.get("spec") or {}), "identity": {"secretRef": ref}}
        meta = {**meta, "generation": meta.get("generation", 0) + 1}
        changed = {**export, "metadata": meta, "spec": spec}
        put(self._backend, APIEXPORTS_KEY, cluster, changed)

    def _verify(self, cluster: str, export: Json, ref: Json) -> None:
        status = dict(export.get("status") or {})
        found, problem = self._hash(cluster, ref.get("namespace", ""), ref.get("name", ""))
        status.setdefault("identityHash", found)
        if not status["identityHash"]:
            del status["identityHash"]
        elif found and found != status["identityHash"]:
            problem = (
                f'hash mismatch: identity secret hash "{found}" must match status.identityHash '
                f'"{status["identityHash"]}"'
            )
        now = self._backend.now()
        if problem:
            mark_false(status, "IdentityValid", "IdentityVerificationFailed", problem, now)
        else:
            mark_true(status, "IdentityValid", now)
        put_status(self._backend, APIEXPORTS_KEY, cluster, export, status)

    def _hash(self, cluster: str, namespace: str, name: str) -> tuple[str, str]:
        """Return the hash of an identity secret, or "" and what is wrong."""
        secret = self._backend.store.get("secrets", ObjectKey(cluster, namespace, name))
        if secret is None:
            return "", f'secrets "{name}" not found'
        key = base64.b64decode((secret.obj.get("data") or {}).get("key") or "")
        return (hashlib.sha256(key).hexdigest(), "") if key else ("", "secret is missing data.key")

    # -- endpoint slices ------------------------------------------------------------------

    def _give_slice(self, cluster: str, export: Json) -> None:
        meta = export["metadata"]
        annotations = meta.get("annotations") or {}
        key = ObjectKey(cluster, "", meta["name"])
        if _SKIP_SLICE in annotations or self._backend.store.get(ENDPOINT_SLICES_KEY, key):
            return
        owner = {
            "apiVersion": f"{GROUP}/v1alpha2",
            "kind": "APIExport",
            "name": meta["name"],
            "uid": meta["uid"],
        }
        export_ref = {"name": meta["name"], "path": annotations.get(PATH_ANNOTATION, cluster)}
        body = {
            "metadata": {"name": meta["name"], "ownerReferences": [owner]},
            "spec": {"export": export_ref},
        }
        self._create(cluster, ENDPOINT_SLICES_KEY, "", body)

    def reconcile_slices(self, cluster: str = "", name: str = "") -> None:
        """Bring the slices of an APIExport to what they should be, without one all of them."""
        for key, stored in list(self._backend.store.list(ENDPOINT_SLICES_KEY)):
            path, export = slice_reference(key.cluster, stored.obj)
            if not name or (export == name and self._exports.resolve(path) == cluster):
                self._reconcile_slice(key.cluster, stored.obj)

    def reconcile_slice(self, cluster: str, name: str) -> None:
        """Bring one slice to what it should be."""
        found = self._backend.store.get(ENDPOINT_SLICES_KEY, ObjectKey(cluster, "", name))
        if found is not None:
            self._reconcile_slice(cluster, found.obj)

    def _reconcile_slice(self, cluster: str, endpoint_slice: Json) -> None:
        wanted = slice_reference(cluster, endpoint_slice)
        found = self._exports.export_of(wanted)
        status = dict(endpoint_slice.get("status") or {})
        status.pop("endpoints", None)
        now = self._backend.now()
        if found is None:
            message = f"Error getting APIExport {wanted.cluster}|{wanted.name}"
            mark_false(status, EXPORT_VALID, "APIExportNotFound", message, now)
        else:
            mark_true(status, EXPORT_VALID, now)
            export = Place(found[0], wanted.name)
            is_here = self._check_partition(status, endpoint_slice, now)
            if is_here and self._exports.consumers(*export):
                url = f"{self.server_url}/services/apiexport/{export.cluster}/{export.name}"
                status["endpoints"] = [{"url": url}]
        put_status(self._backend, ENDPOINT_SLICES_KEY, cluster, endpoint_slice, status)

    def _check_partition(self, status: Json, endpoint_slice: Json, now: str) -> bool:
        """Whether a slice is about this server, which is the only shard and in no partition."""
        partition = endpoint_slice["spec"].get("partition")
        if partition:
            message = f'partition.topology.kcp.io "{partition}" not found'
            mark_false(status, "PartitionValid", "PartitionInvalidReference", message, now)
            return False
        mark_true(status, "PartitionValid", now)
        return True
