"""Which resources each logical cluster serves: built-in ones, bound ones and its own CRDs'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from kcpctl.embedded.crds import infos_of, is_established
from kcpctl.embedded.exports.kinds import EXPORT_KINDS
from kcpctl.embedded.kinds import ResourceInfo, built_in_infos
from kcpctl.embedded.store import family_of

__all__ = ["KindSet"]

Json = dict[str, Any]
_Index = dict[tuple[str, str, str], ResourceInfo]
_IDENTIFIED: Final = "*:"  # no cluster's name


class KindSet:
    """The served resources by cluster, group, version and plural.

    ``update`` and ``remove`` follow the CRDs of a cluster, ``bind`` and ``unbind`` its
    APIBindings, which come before CRDs. CRDs whose spec and accepted names are equal in several
    clusters (those that every workspace has) share their resources, so a thousand workspaces cost
    a thousand references. In all clusters at once (``*``) a bound resource is found by
    ``plural:identity`` only.
    """

    def __init__(self, *, workspaces: bool) -> None:
        self._built_in = built_in_infos(workspaces=workspaces)
        if workspaces:
            self._built_in += EXPORT_KINDS
        self._index: _Index = {(i.group, i.version, i.plural): i for i in self._built_in}
        self.built_in_groups = frozenset(info.group for info in self._built_in)
        self._custom: dict[str, dict[str, list[ResourceInfo]]] = {}
        self._bound: dict[str, dict[str, Sequence[ResourceInfo]]] = {}
        self._indexes: dict[str, _Index] = {}
        self._lists: dict[str, list[ResourceInfo]] = {}
        self._shared: dict[str, list[tuple[Json, list[ResourceInfo]]]] = {}

    def is_built_in(self, group: str, plural: str) -> bool:
        """Whether a resource is served without a CRD and without an APIBinding."""
        return any((one.group, one.plural) == (group, plural) for one in self._built_in)

    def _parse(self, crd: Json) -> list[ResourceInfo]:
        identity = {"spec": crd["spec"], "names": crd["status"].get("acceptedNames")}
        known = self._shared.setdefault(crd["metadata"]["name"], [])
        for other, infos in known:
            if other == identity:
                return infos
        infos = infos_of(crd)
        del known[:-3]  # old specs of a CRD that is being edited are not worth keeping
        known.append((identity, infos))
        return infos

    def update(self, cluster: str, crd: Json) -> None:
        """Take over a CRD's present state."""
        name = crd["metadata"]["name"]
        if is_established(crd):
            self._custom.setdefault(cluster, {})[name] = self._parse(crd)
        else:
            self._custom.get(cluster, {}).pop(name, None)
        self._forget(cluster)

    def remove(self, cluster: str, name: str) -> list[ResourceInfo]:
        """Forget a CRD; returns what it served."""
        removed = self._custom.get(cluster, {}).pop(name, [])
        self._forget(cluster)
        return removed

    def remove_cluster(self, cluster: str) -> None:
        """Forget a cluster."""
        self._custom.pop(cluster, None)
        self._bound.pop(cluster, None)
        self._forget(cluster)

    def bind(self, cluster: str, binding: str, infos: Sequence[ResourceInfo]) -> None:
        """Serve what an APIBinding brings, instead of what it brought before."""
        self._bound.setdefault(cluster, {})[binding] = infos
        self._forget(cluster)

    def unbind(self, cluster: str, binding: str) -> Sequence[ResourceInfo]:
        """Forget an APIBinding; returns what it brought."""
        removed = self._bound.get(cluster, {}).pop(binding, ())
        self._forget(cluster)
        return removed

    def bound(self, cluster: str) -> Mapping[str, Sequence[ResourceInfo]]:
        """Return what the APIBindings of a cluster bring, by their names."""
        return self._bound.get(cluster, {})

    def holder(self, cluster: str, storage_key: str) -> str | None:
        """Return the name of the APIBinding that brings a resource, or None."""
        for name, infos in self.bound(cluster).items():
            if any(info.storage_key == storage_key for info in infos):
                return name
        return None

    def _forget(self, cluster: str) -> None:
        for key in (cluster, "*", _IDENTIFIED):
            self._indexes.pop(key, None)
            self._lists.pop(key, None)

    def custom(self, cluster: str) -> Iterable[ResourceInfo]:
        """Yield the custom resources of a cluster; of all clusters' CRDs for ``*``."""
        for infos in self.bound(cluster).values():
            yield from infos
        clusters = sorted(self._custom) if cluster == "*" else [cluster]
        for one in clusters:
            for infos in self._custom.get(one, {}).values():
                yield from infos

    def infos(self, cluster: str) -> list[ResourceInfo]:
        """Return every served resource and version; do not change the list."""
        found = self._lists.get(cluster)
        if found is None:
            found = [*self._built_in, *self._custom_index(cluster).values()]
            self._lists[cluster] = found
        return found

    def _custom_index(self, cluster: str) -> _Index:
        found = self._indexes.get(cluster)
        if found is None:
            found = {}
            for info in self.custom(cluster):
                found.setdefault((info.group, info.version, info.plural), info)
            self._indexes[cluster] = found
        return found

    def _identified(self) -> _Index:
        """Return the bound resources of all clusters by ``plural:identity``."""
        found = self._indexes.get(_IDENTIFIED)
        if found is None:
            found = {}
            for bindings in self._bound.values():
                for infos in bindings.values():
                    for info in infos:
                        name = f"{info.plural}:{info.identity}"
                        found[info.group, info.version, name] = info
            self._indexes[_IDENTIFIED] = found
        return found

    def find(self, cluster: str, group: str, version: str, plural: str) -> ResourceInfo | None:
        """Return a served resource, or None."""
        key = (group, version, plural)
        if cluster == "*" and ":" in plural:
            return self._identified().get(key)
        return self._index.get(key) or self._custom_index(cluster).get(key)

    def find_family(self, group: str, version: str, plural: str) -> ResourceInfo | None:
        """Return a resource that some cluster has bound, for reading it whatever its identity.

        Its versions and schemas may differ, so what can be read are the metadata.
        """
        for info in self._identified().values():
            if (info.group, info.version, info.plural) == (group, version, plural):
                return replace(info, identity="", storage_key=family_of(info.group_resource))
        return None

    def find_kind(self, cluster: str, api_version: str, kind: str) -> ResourceInfo | None:
        """Return the resource that serves a kind, or None."""
        for info in self.infos(cluster):
            if info.kind == kind and info.api_version == api_version:
                return info
        return None

    def storage_info(self, cluster: str, storage_key: str) -> ResourceInfo | None:
        """Return the resource of a storage key in its storage version, or any served one."""
        fallback = None
        for info in self.infos(cluster):
            if info.storage_key == storage_key:
                if info.api_version == info.storage_version:
                    return info
                fallback = fallback or info
        return fallback
