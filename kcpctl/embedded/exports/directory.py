"""Who exports what, and who has bound it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from kcpctl.embedded.backend import Backend, Event
from kcpctl.embedded.exports.kinds import APIBINDINGS_KEY, APIEXPORTS_KEY, SCHEMAS_KEY
from kcpctl.embedded.exports.schemas import BoundSchemas
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.store import ObjectKey

__all__ = ["Exports", "Place", "identity_of", "reference", "slice_reference"]

Json = dict[str, Any]


class Place(NamedTuple):
    """A cluster-scoped object: its logical cluster (by name) and its own name."""

    cluster: str
    name: str


class Exports:
    """Finds APIExports and APIBindings, and the resources that come with them.

    Objects are the stored ones: never change them. ``cluster`` is always a logical cluster's
    name, and a path only in ``resolve``. Follows the commits by ``follow``, so that nothing has
    to be searched. Event loop's thread only.

    Parameters
    ----------
    resolve: returns the name of a logical cluster by its name or path, None without one.
    """

    def __init__(self, backend: Backend, resolve: Callable[[str], str | None]) -> None:
        self.schemas = BoundSchemas(backend.store)
        self.resolve = resolve
        self._backend = backend
        # By (the reference's path or the own cluster, export's name), as the bindings have it.
        self._bindings: dict[Place, set[Place]] = {}

    def load(self) -> None:
        """Take over what the store came with."""
        for key, stored in self._backend.store.list(APIBINDINGS_KEY):
            self._note(Place(key.cluster, key.name), stored.obj)

    def follow(self, event: Event) -> None:
        """Follow one commit."""
        if event.info.storage_key != APIBINDINGS_KEY:
            return
        place = Place(event.cluster, event.name)
        if event.type == "DELETED":
            wanted = reference(event.cluster, event.object)
            consumers = self._bindings.get(wanted, set())
            consumers.discard(place)
            if not consumers:
                self._bindings.pop(wanted, None)
        else:
            self._note(place, event.object)

    def _note(self, place: Place, binding: Json) -> None:
        # The reference is immutable, so there is nothing to forget.
        self._bindings.setdefault(reference(place.cluster, binding), set()).add(place)

    def _get(self, storage_key: str, cluster: str, name: str) -> Json | None:
        found = self._backend.store.get(storage_key, ObjectKey(cluster, "", name))
        return None if found is None else found.obj

    # -- exports --------------------------------------------------------------------------

    def export(self, cluster: str, name: str) -> Json | None:
        """Return an APIExport."""
        return self._get(APIEXPORTS_KEY, cluster, name)

    def exports(self, cluster: str = "*") -> Iterator[tuple[Place, Json]]:
        """Yield every APIExport of a cluster, of all for ``*``."""
        for key, stored in list(self._backend.store.list(APIEXPORTS_KEY, cluster)):
            yield Place(key.cluster, key.name), stored.obj

    def export_of(self, reference: Place) -> tuple[str, Json] | None:
        """Return the APIExport that a binding or slice refers to, with its cluster."""
        cluster = self.resolve(reference.cluster)
        export = self.export(cluster, reference.name) if cluster else None
        return (cluster, export) if cluster and export is not None else None

    def schema(self, cluster: str, name: str) -> Json | None:
        """Return an APIResourceSchema."""
        return self._get(SCHEMAS_KEY, cluster, name)

    def infos(self, cluster: str, name: str) -> list[ResourceInfo]:
        """Return the resources that an APIExport has now, one for each served version.

        None of an export without an identity. Bindings may still serve older schemas.
        """
        export = self.export(cluster, name) or {}
        identity = identity_of(export)
        found: list[ResourceInfo] = []
        for resource in (export.get("spec") or {}).get("resources") or () if identity else ():
            schema = self.schema(cluster, resource["schema"])
            if schema is not None:
                uid = schema["metadata"]["uid"]
                found += self.schemas.infos_of(schema, uid, identity)
        return found

    def identified(self, group: str, plural: str, identity: str) -> Sequence[ResourceInfo]:
        """Return the versions of a resource by the identity of its export (for claims)."""
        for place, export in self.exports():
            if identity_of(export) == identity:
                infos = self.infos(*place)
                found = [i for i in infos if (i.group, i.plural) == (group, plural)]
                if found:
                    return found
        return ()

    # -- bindings -------------------------------------------------------------------------

    def consumers(self, cluster: str, name: str) -> set[Place]:
        """Return where the APIBindings to an APIExport are."""
        by_name = self._bindings.get(Place(cluster, name), set())
        by_path = self._bindings.get(Place(self._backend.path_of(cluster), name), set())
        return by_name | by_path

    def binding(self, cluster: str, name: str) -> Json | None:
        """Return an APIBinding by its cluster and name."""
        return self._get(APIBINDINGS_KEY, cluster, name)

    def bindings_in(self, cluster: str, export_cluster: str, export_name: str) -> list[Json]:
        """Return the APIBindings of one cluster to an APIExport, most often one or none."""
        found = []
        for key, stored in self._backend.store.list(APIBINDINGS_KEY, cluster):
            path, name = reference(key.cluster, stored.obj)
            if name == export_name and self.resolve(path) == export_cluster:
                found.append(stored.obj)
        return found

    def infos_of_binding(self, binding: Json) -> list[ResourceInfo]:
        """Return the resources that an APIBinding has bound."""
        found: list[ResourceInfo] = []
        for bound in (binding.get("status") or {}).get("boundResources") or ():
            uid, identity = bound["schema"]["UID"], bound["schema"]["identityHash"]
            schema = self.schemas.kept(uid)
            if schema is not None:
                found += self.schemas.infos_of(schema, uid, identity)
        return found


def identity_of(export: Json) -> str:
    """Return the identity of an APIExport, "" as long as it has none."""
    return (export.get("status") or {}).get("identityHash") or ""


def reference(cluster: str, binding: Json) -> Place:
    """Return the reference of an APIBinding: the path (or own cluster) and name of the export."""
    return _reference(cluster, (binding.get("spec") or {}).get("reference") or {})


def slice_reference(cluster: str, endpoint_slice: Json) -> Place:
    """Return the reference of an APIExportEndpointSlice, like that of an APIBinding."""
    return _reference(cluster, endpoint_slice.get("spec") or {})


def _reference(cluster: str, holder: Json) -> Place:
    export = holder.get("export") or {}
    return Place(export.get("path") or cluster, export.get("name", ""))
