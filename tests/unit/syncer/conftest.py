"""Two clusters in memory, with caches that see every write at once, and the syncer's parts."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any, cast

import jsonpatch
import jsonpointer
import msgspec
import pytest

from kcpctl.apis.admission import EVERYTHING, Admission
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import downstream_namespace
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, Resource
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import Client, PatchType
from kcpctl.controller import Request
from kcpctl.errors import AlreadyExists, Conflict, Invalid, NotFound
from kcpctl.informers import CachedObject, ObjectMetadata
from kcpctl.informers.indexes import cluster_and_namespace
from kcpctl.logicalcluster import key_of
from kcpctl.syncer.cleaner import NamespaceCleaner
from kcpctl.syncer.gate import Gate
from kcpctl.syncer.namespaces import LOCATOR_INDEX, NamespaceMapper, by_locator
from kcpctl.syncer.objects import ObjectSyncer
from kcpctl.syncer.progress import Pass
from kcpctl.syncer.side import SYNCED_RESOURCES, Side
from kcpctl.syncer.target import Target
from kcpctl.testing.clock import FakeClock
from kcpctl.testing.listerwatcher import cached_object

Place = tuple[str, str, str]  # plural, namespace, name


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class FakeCluster:
    """The objects of one API server, and the writes that reached it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.objects: dict[Place, Unstructured] = {}
        self.writes: list[str] = []
        self.fail: dict[str, Exception] = {}  # by "verb plural"
        self.version = 0

    def put(self, resource: Resource, obj: Unstructured) -> Unstructured:
        """Store an object as somebody else would."""
        metadata = obj.setdefault("metadata", {})
        obj.setdefault("apiVersion", resource.api_version)
        obj.setdefault("kind", resource.kind)
        self.version += 1
        metadata.setdefault("uid", f"uid-{self.version}")
        metadata.setdefault("generation", 1)
        metadata["resourceVersion"] = str(self.version)
        place = (resource.plural, metadata.get("namespace", ""), metadata["name"])
        self.objects[place] = copy.deepcopy(obj)
        return self.objects[place]

    def find(self, resource: Resource, namespace: str, name: str) -> Unstructured | None:
        return self.objects.get((resource.plural, namespace, name))

    def expect(self, resource: Resource, namespace: str, name: str) -> Unstructured:
        return self.objects[(resource.plural, namespace, name)]

    def drop(self, resource: Resource, namespace: str, name: str) -> None:
        del self.objects[(resource.plural, namespace, name)]

    def take_writes(self) -> list[str]:
        writes, self.writes = self.writes, []
        return writes


class FakeResourceClient:
    """The blocking verbs over a FakeCluster, as far as the syncer uses them."""

    def __init__(self, cluster: FakeCluster, resource: Resource) -> None:
        self._cluster = cluster
        self._resource = resource

    def _live(self, verb: str, name: str, namespace: str | None) -> Unstructured:
        if (error := self._cluster.fail.get(f"{verb} {self._resource.plural}")) is not None:
            raise error
        found = self._cluster.find(self._resource, namespace or "", name)
        if found is None:
            raise NotFound(f"{self._resource.plural} {name!r} not found")
        return found

    def _note(self, verb: str, namespace: str | None, name: str) -> None:
        where = f"{namespace}/{name}" if namespace else name
        self._cluster.writes.append(f"{verb} {self._resource.plural} {where}")

    def get(self, name: str, *, namespace: str | None = None) -> Unstructured:
        return copy.deepcopy(self._live("get", name, namespace))

    def create(self, obj: Unstructured, *, field_manager: str | None = None) -> Unstructured:
        name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
        if self._cluster.find(self._resource, namespace, name) is not None:
            raise AlreadyExists(f"{name!r} exists")
        self._note("create", namespace, name)
        return copy.deepcopy(self._cluster.put(self._resource, copy.deepcopy(obj)))

    def patch(
        self,
        name: str,
        body: Any,
        *,
        namespace: str | None = None,
        type: PatchType = PatchType.MERGE,  # noqa: A002
        subresource: str = "",
        field_manager: str | None = None,
    ) -> Unstructured:
        assert field_manager == "kcpctl-syncer"
        live = self._live("patch", name, namespace)
        if type is PatchType.JSON:
            try:
                new = jsonpatch.apply_patch(live, body)
            except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
                raise Invalid(f"the patch does not fit: {error}") from error
        else:
            new = merged(live, body)
        for field in ("uid", "resourceVersion"):
            if new["metadata"][field] != live["metadata"][field]:
                raise Conflict(f"{field} differs")
        if subresource == "status":
            new = {**live, "status": new["status"]}
        self._note(f"patch{'/' + subresource if subresource else ''}", namespace, name)
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            self._cluster.drop(self._resource, namespace or "", name)
            return cast(Unstructured, new)
        if new.get("spec") != live.get("spec"):
            new["metadata"]["generation"] = live["metadata"]["generation"] + 1
        return copy.deepcopy(self._cluster.put(self._resource, new))

    def apply(self, obj: Unstructured, *, field_manager: str, force: bool) -> Unstructured:
        assert (field_manager, force) == ("kcpctl-syncer", True)
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        if (error := self._cluster.fail.get(f"apply {self._resource.plural}")) is not None:
            raise error
        self._note("apply", namespace, name)
        live = self._cluster.find(self._resource, namespace, name)
        if live is None:
            return copy.deepcopy(self._cluster.put(self._resource, copy.deepcopy(obj)))
        new = merged(live, obj)
        if new == live:
            return copy.deepcopy(live)
        if new.get("spec") != live.get("spec"):
            new["metadata"]["generation"] = live["metadata"]["generation"] + 1
        return copy.deepcopy(self._cluster.put(self._resource, new))

    def delete(
        self,
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        propagation: str | None = None,
    ) -> Unstructured:
        live = self._live("delete", name, namespace)
        assert propagation == "Background"
        if uid is not None and uid != live["metadata"]["uid"]:
            raise Conflict("uid differs")
        self._note("delete", namespace, name)
        if live["metadata"].get("finalizers"):
            live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return self._cluster.put(self._resource, live)
        self._cluster.drop(self._resource, namespace or "", name)
        return live


class FakeClient:
    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    @property
    def cluster_name(self) -> str:
        return self._cluster.name

    def resource(self, resource: Resource) -> FakeResourceClient:
        return FakeResourceClient(self._cluster, resource)


class FakeCache:
    """A cache without delay. With a selector it holds only what has that label."""

    def __init__(self, cluster: FakeCluster, resource: Resource, label: str = "") -> None:
        self._cluster = cluster
        self._resource = resource
        self._label = label

    def cached(self, key: str) -> CachedObject | None:
        return next((obj for obj in self._all() if obj.key == key), None)

    def cached_by_index(self, name: str, value: str) -> Iterable[CachedObject]:
        if name == LOCATOR_INDEX:
            return [obj for obj in self._all() if value in by_locator(obj)]
        return [
            obj
            for obj in self._all()
            if cluster_and_namespace(obj.cluster, obj.meta.namespace) == value
        ]

    def _all(self) -> Iterable[CachedObject]:
        for (plural, _, _), obj in list(self._cluster.objects.items()):
            if plural == self._resource.plural:
                found = as_cached(self._cluster.name, obj)
                pairs = {f"{k}={v}" for k, v in found.meta.labels.items()}
                if not self._label or self._label in pairs:
                    yield found


def as_cached(cluster: str, obj: Unstructured) -> CachedObject:
    meta = msgspec.convert(obj["metadata"], ObjectMetadata)
    key = key_of(cluster, meta.namespace, meta.name)
    return cached_object(key, cluster, meta, json.dumps(obj).encode())


class World:
    """A SyncTarget ``east`` in cluster ``root``, its upstream and its downstream."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.target = Target("root", "east", "uid-east")
        self.up, self.down = FakeCluster("root"), FakeCluster("root")
        self.up_client, self.down_client = FakeClient(self.up), FakeClient(self.down)
        self.upstream = self._side(self.up, "")
        self.downstream = self._side(self.down, self.target.downstream_selector)
        self.gate = Gate(self.target, self.up_client.resource(SYNCTARGETS), clock=self.clock)
        self.mapper = NamespaceMapper(self.target, self.gate, self.downstream)
        self.restrict(EVERYTHING)
        self.up.put(SYNCTARGETS, {"metadata": {"name": "east", "uid": "uid-east"}})
        self.up.put(NAMESPACES, {"metadata": {"name": "shop"}})
        self.namespace = downstream_namespace(self.target.locator("shop"))

    def restrict(self, admission: Admission) -> None:
        """Begin anew, with what the SyncTarget lets in."""
        self.admission = admission
        self._syncers: dict[Resource, ObjectSyncer] = {}
        self.cleaner = NamespaceCleaner(
            gate=self.gate,
            upstream=self.upstream,
            downstream=self.downstream,
            namespaces=self.mapper,
            resources=SYNCED_RESOURCES,
            delay_seconds=30,
            admission=admission,
            clock=self.clock,
        )

    def _side(self, cluster: FakeCluster, label: str) -> Side:
        return Side(
            cast(Client, FakeClient(cluster)),
            FakeCache(cluster, NAMESPACES, label),
            {resource: FakeCache(cluster, resource, label) for resource in SYNCED_RESOURCES},
        )

    def syncer(self, resource: Resource) -> ObjectSyncer:
        if resource not in self._syncers:
            self._syncers[resource] = ObjectSyncer(
                resource,
                gate=self.gate,
                upstream=self.upstream,
                downstream=self.downstream,
                namespaces=self.mapper,
                admission=self.admission,
                syncer_namespace="syncer-home",
            )
        return self._syncers[resource]

    def restart(self) -> None:
        """Forget what only the process knew."""
        self._syncers.clear()

    def assigned(self, resource: Resource = CONFIG_MAPS, **fields: Any) -> Unstructured:
        """Store ``shop/web`` upstream, assigned, with our finalizer."""
        metadata = {
            "name": "web",
            "namespace": "shop",
            "labels": {self.target.state_label: "Sync"},
            "finalizers": [self.target.finalizer],
            **fields.pop("metadata", {}),
        }
        if resource == DEPLOYMENTS:
            fields = {"spec": {"replicas": 2, "template": {"spec": {}}}, **fields}
        return self.up.put(resource, {"metadata": metadata, **fields})

    def sync(
        self, resource: Resource = CONFIG_MAPS, name: str = "web", namespace: str = "shop"
    ) -> Pass:
        key = self.upstream.key(namespace, name)
        return self.syncer(resource).sync(Request.from_key(key))

    def clean(self, namespace: str = "shop") -> Pass:
        return self.cleaner.sync(Request.from_key(self.upstream.key("", namespace)))

    def copy(self, resource: Resource = CONFIG_MAPS, name: str = "web") -> Unstructured | None:
        return self.down.find(resource, self.namespace, name)

    def expect_copy(self, resource: Resource = CONFIG_MAPS) -> Unstructured:
        found = self.copy(resource)
        assert found is not None
        return found


@pytest.fixture
def world() -> World:
    return World()
