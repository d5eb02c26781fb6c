"""Two API servers in memory behind real clients, a pool that a test sets, and the reconciler."""

from __future__ import annotations

import base64
import copy
import itertools
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

import msgspec
import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import (
    deletion_annotation,
    state_label,
    sync_target_key,
    syncer_finalizer,
)
from kcpctl.apis.resource import (
    CERTIFICATE_SIGNING_REQUESTS,
    DEPLOYMENTS,
    LOGICAL_CLUSTERS,
    SECRETS,
    Resource,
)
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.apis.workload import SYNCTARGETS, SyncTarget
from kcpctl.client import AsyncClient, Call, Client, Response, confine
from kcpctl.clusters import ConnectionState, ConnectionStatus
from kcpctl.controller import ObjectReference, Request, Result
from kcpctl.errors import (
    AlreadyExists,
    ConfigError,
    Conflict,
    NotConnected,
    NotFound,
    ServiceUnavailable,
)
from kcpctl.informers import CachedObject
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.logicalcluster import key_of
from kcpctl.reconcilers.credentials import CredentialSource
from kcpctl.reconcilers.synctarget.approval import Approver
from kcpctl.reconcilers.synctarget.deployment import SyncerDeployer
from kcpctl.reconcilers.synctarget.linking import Links
from kcpctl.reconcilers.synctarget.options import SyncTargetOptions
from kcpctl.reconcilers.synctarget.reconcile import SyncTargetReconciler
from kcpctl.reconcilers.synctarget.rollout import Rollout
from kcpctl.reconcilers.workspaces import Workspaces
from kcpctl.runtime import IOLoop, format_time
from kcpctl.testing.clock import FakeClock

KUBECONFIG = b"apiVersion: v1\nkind: Config\n"
_GROUP_VERSION = re.compile(r"/(api|apis/[^/]+)/v1$")


def merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class Server:
    """The objects of one API server by URL path, and the calls that it got; a Transport."""

    def __init__(self, clock: FakeClock, url: str) -> None:
        self.server = url
        self.clock = clock
        self.objects: dict[str, Unstructured] = {}
        self.calls: list[str] = []
        self.bodies: list[tuple[str, Any]] = []
        self.errors: dict[str, Exception] = {}
        self.served: dict[str, Unstructured] = {}
        self.unserved: set[str] = set()
        self.grants: set[tuple[str, str, str, str]] = set()
        self.version = 100

    def put(self, path: str, obj: Mapping[str, Any]) -> Unstructured:
        """Store an object as a server would."""
        self.version += 1
        new: Unstructured = copy.deepcopy(dict(obj))
        old = self.objects.get(path)
        meta = new.setdefault("metadata", {})
        meta.setdefault("uid", old["metadata"]["uid"] if old else f"uid-{self.version}")
        changed = old is None or old.get("spec") != new.get("spec")
        meta["generation"] = (old["metadata"]["generation"] if old else 0) + (1 if changed else 0)
        meta["resourceVersion"] = str(self.version)
        if meta.get("deletionTimestamp") and not meta.get("finalizers"):
            del self.objects[path]
        else:
            self.objects[path] = new
        return new

    def writes(self) -> list[str]:
        """Return the calls that change something, and forget all calls."""
        found = [call for call in self.calls if not call.startswith("GET ")]
        self.calls.clear()
        return found

    def names(self, plural: str) -> list[str]:
        """Return the paths' ends of all objects of a resource."""
        marker = f"/{plural}/"
        return sorted(path.rpartition("/")[2] for path in self.objects if marker in path)

    async def request(self, call: Call) -> Response:
        path = unquote(call.path)
        line = f"{call.method} {path}"
        self.calls.append(line)
        body = json.loads(call.body) if call.body else None
        self.bodies.append((line, body))
        for part, error in self.errors.items():
            if part in line:
                raise error
        answer = self._answer(call, path, body)
        return Response(200, {}, json.dumps(answer).encode())

    def _answer(self, call: Call, path: str, body: Any) -> Unstructured:
        if call.method == "GET":
            return self._get(call, path)
        if call.method == "POST":
            return self._post(path, body)
        if call.method == "DELETE":
            return self._delete(path, body or {})
        if call.method == "PUT":
            return self._replace(path.removesuffix("/approval"), body)
        if "apply-patch" in call.content_type:
            old = self.objects.get(path, {})
            kept = {k: v for k, v in old.items() if k == "status"}
            uid = {"uid": old["metadata"]["uid"]} if old else {}
            body["metadata"] = {**body["metadata"], **uid}
            return self.put(path, {**kept, **body})
        return self._patch(path, body)

    def _get(self, call: Call, path: str) -> Unstructured:
        if path in self.served:
            return self.served[path]
        if path in self.objects:
            return self.objects[path]
        if path.endswith("/logicalclusters/cluster"):
            raise NotFound(path)
        plural = path.rpartition("/")[2]
        if _GROUP_VERSION.search(path):
            return {"resources": [{"name": name} for name in sorted(PLURALS - self.unserved)]}
        if plural in PLURALS:
            scope = path.rpartition("/")[0]
            found = [obj for key, obj in self.objects.items() if self._listed(key, scope, plural)]
            selector = call.query.get("labelSelector", "")
            found = [obj for obj in found if _matches(obj, selector)]
            return {
                "kind": "List",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": str(self.version)},
                "items": found,
            }
        raise NotFound(f"{path} not found", reason="NotFound")

    def _listed(self, key: str, scope: str, plural: str) -> bool:
        return key.startswith(f"{scope}/") and key.split("/")[-2] == plural

    def _post(self, path: str, body: Unstructured) -> Unstructured:
        if path.endswith("/token"):
            if path.removesuffix("/token") not in self.objects:
                raise NotFound(path)
            self.version += 1
            return {**body, "status": {"token": f"token-{self.version}"}}
        if path.endswith("/subjectaccessreviews"):
            asked = body["spec"]["resourceAttributes"]
            what = (path.split("/")[2], asked["verb"], asked["resource"], asked["name"])
            return {**body, "status": {"allowed": what in self.grants}}
        full = f"{path}/{body['metadata']['name']}"
        if full in self.objects:
            raise AlreadyExists(full)
        return self.put(full, body)

    def _delete(self, path: str, body: Unstructured) -> Unstructured:
        found = self.objects.get(path)
        if found is None:
            raise NotFound(path)
        wanted = (body.get("preconditions") or {}).get("uid")
        if wanted and wanted != found["metadata"]["uid"]:
            raise Conflict(path)
        if found["metadata"].get("finalizers"):
            found["metadata"]["deletionTimestamp"] = format_time(self.clock.time())
        else:
            del self.objects[path]
            inside = path + "/"
            if "/namespaces/" in path:
                for key in [key for key in self.objects if inside in key]:
                    del self.objects[key]
        return {"kind": "Status", "apiVersion": "v1"}

    def _replace(self, path: str, body: Unstructured) -> Unstructured:
        old = self.objects.get(path)
        if old is None:
            raise NotFound(path)
        if body["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]:
            raise Conflict(path)
        return self.put(path, body)

    def _patch(self, path: str, body: Unstructured) -> Unstructured:
        status = path.endswith("/status")
        path = path.removesuffix("/status")
        old = self.objects.get(path)
        if old is None:
            raise NotFound(path)
        meta = body.get("metadata") or {}
        for guard in ("uid", "resourceVersion"):
            if guard in meta and meta[guard] != old["metadata"][guard]:
                raise Conflict(f"{path}: {guard}")
        if status:
            body = {"status": body["status"]}
        return self.put(path, merged(old, body))

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        for _ in ():
            yield b""
        raise AssertionError(f"no watch was expected: {call.path}")

    async def close(self) -> None:
        pass


PLURALS = {
    "leases", "nodes",
    "configmaps", "clusterrolebindings", "clusterroles", "deployments", "namespaces", "pods",
    "secrets", "serviceaccounts", "services", "synctargets", "clusterregistrations",
}  # fmt: skip


def _matches(obj: Unstructured, selector: str) -> bool:
    key, _, value = selector.partition("=")
    return not selector or (obj["metadata"].get("labels") or {}).get(key) == value


class Cache:
    """A lister that sees the server's objects as they are."""

    def __init__(self, world: World, resource: Resource) -> None:
        self._world = world
        self._resource = resource

    def cached(self, key: str) -> CachedObject | None:
        cluster, _, rest = key.partition("|")
        namespace, _, name = rest.rpartition("/")
        found = self._world.up.objects.get(
            self._world.path(self._resource, name, namespace, cluster)
        )
        if found is None:
            return None
        decoder = ObjectDecoder(self._resource, cluster=cluster, multi_cluster=False)
        return decoder.decode(msgspec.Raw(msgspec.json.encode(found)))


class Pool:
    """A pool whose connections a test sets."""

    def __init__(self) -> None:
        self.statuses: dict[str, ConnectionStatus] = {}
        self.kubeconfigs: dict[str, bytes] = {}
        self.sources: dict[str, str] = {}
        self.removed: list[str] = []
        self.down: Client | None = None

    def ensure(self, key: str, kubeconfig: bytes, *, source: str) -> None:
        if b"garbage" in kubeconfig:
            raise ConfigError(f"{source} is not a kubeconfig")
        self.sources[key] = source
        if self.kubeconfigs.get(key) != kubeconfig:
            self.kubeconfigs[key] = kubeconfig
            self.set(key, ConnectionState.CONNECTING, "NotChecked")

    def set(
        self,
        key: str,
        state: ConnectionState,
        reason: str,
        message: str = "",
        *,
        rotation: str = "",
    ) -> None:
        self.statuses[key] = ConnectionStatus(
            key,
            state,
            0.0,
            reason,
            message,
            version="v1.36.0",
            server="https://east",
            source=self.sources.get(key, ""),
            rotation=rotation,
        )

    def fail(self, key: str, reason: str, message: str) -> None:
        self.kubeconfigs.pop(key, None)
        self.set(key, ConnectionState.DISCONNECTED, reason, message)

    def remove(self, key: str) -> None:
        self.statuses.pop(key, None)
        self.kubeconfigs.pop(key, None)
        self.removed.append(key)

    def client(self, key: str) -> Client:
        status = self.statuses.get(key)
        if status is None or not status.connected or self.down is None:
            raise NotConnected(key, state="Disconnected", since=0.0, last_error="refused")
        return self.down

    def status(self, key: str) -> ConnectionStatus | None:
        return self.statuses.get(key)


class Rollouts:
    """A watch that sees each Deployment as it is, without a request."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.stopped: list[str] = []
        self.removed: list[Callable[[str], bool]] = []

    def observe(self, key: str, client: Client, namespace: str, name: str) -> Rollout | None:
        found = self._world.down.objects.get(DEPLOYMENTS.path(namespace=namespace, name=name))
        return None if found is None else Rollout.of(found)

    def applied(self, key: str, deployment: Mapping[str, Any]) -> Rollout:
        return Rollout.of(deployment)

    def stop(self, key: str) -> None:
        self.stopped.append(key)

    def remove(self, belongs: Callable[[str], bool]) -> None:
        self.removed.append(belongs)


@dataclass
class Recorder:
    """Events as ``cluster/name Type Reason: message``."""

    lines: list[str] = field(default_factory=list)

    def event(
        self,
        obj: ObjectReference,
        type: str,  # noqa: A002 - the protocol's word
        reason: str,
        message: str,
    ) -> None:
        self.lines.append(f"{obj.cluster}/{obj.name} {type} {reason}: {message}")

    def take(self) -> list[str]:
        """Return type and reason of each, and forget them."""
        found = [" ".join(line.split()[1:3]).rstrip(":") for line in self.lines]
        self.lines.clear()
        return found


class World:
    """Everything around one reconciler. ``multi`` has workspaces below /clusters/<name>."""

    def __init__(self, io_loop: IOLoop, *, multi: bool = False) -> None:
        self.clock = FakeClock()
        self.multi = multi
        self.up = Server(self.clock, "https://upstream:6443")
        self.down = Server(self.clock, "https://east:6443")
        self.pool = Pool()
        self.pool.down = Client(AsyncClient(self.down, cluster_name="root"), io_loop)
        self.recorder = Recorder()
        self.rollouts = Rollouts(self)
        name, prefix = ("*", "/clusters/*") if multi else ("root", "")
        self.client = Client(
            AsyncClient(self.up, cluster_name=name, prefix=prefix, multi_cluster=multi), io_loop
        )
        self.options = SyncTargetOptions(syncer_image="kcpctl-syncer:local", upstream_ca_data=b"CA")
        self.hints: dict[tuple[str, str], str] = {}
        self.links: Links | None = None
        self.reconciler = self.new_reconciler()

    def new_reconciler(self) -> SyncTargetReconciler:
        """Return a reconciler that knows nothing yet, as after a restart."""
        return SyncTargetReconciler(
            client=self.client,
            targets=Cache(self, SYNCTARGETS),
            credentials=CredentialSource(
                Cache(self, SECRETS),
                Cache(self, CLUSTER_REGISTRATIONS),
                namespace=self.options.credentials_namespace,
                workspaces=Workspaces(
                    self.client, namespace=self.options.credentials_namespace, clock=self.clock
                ),
                hint=self.hint,
            ),
            pool=self.pool,
            deployer=SyncerDeployer(self.rollouts, secrets=Cache(self, SECRETS), clock=self.clock),
            approver=self._approver() if self.options.syncer_auth == "certificate" else None,
            recorder=self.recorder,
            options=self.options,
            clock=self.clock,
            hint=self.hint,
            links=self.links,
        )

    def _approver(self) -> Approver:
        requests = Cache(self, CERTIFICATE_SIGNING_REQUESTS)
        namespace = self.options.credentials_namespace
        return Approver(requests, namespace=namespace, clock=self.clock)

    def hint(self, cluster: str, group_resource: str) -> str:
        """Return what a test says is to be accepted in a workspace."""
        return self.hints.get((cluster, group_resource), "")

    def cache(self, resource: Resource) -> Cache:
        """Return a lister of upstream objects."""
        return Cache(self, resource)

    def path(
        self, resource: Resource, name: str, namespace: str = "", cluster: str = "root"
    ) -> str:
        """Return where an upstream object is."""
        prefix = f"/clusters/{cluster}" if self.multi else ""
        return prefix + resource.path(namespace=namespace or None, name=name)

    def add(
        self, resource: Resource, name: str, namespace: str = "", cluster: str = "root", **body: Any
    ) -> Unstructured:
        """Put an object upstream."""
        meta = {"name": name, **body.pop("metadata", {})}
        if namespace:
            meta["namespace"] = namespace
        if self.multi:
            meta["annotations"] = {"kcp.io/cluster": cluster, **meta.get("annotations", {})}
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **body}
        return self.up.put(self.path(resource, name, namespace, cluster), obj)

    def add_target(self, name: str = "east", workspace: str = "root", **spec: Any) -> None:
        """Put a SyncTarget upstream; without a spec a Managed one for cluster ``east``."""
        spec = spec or {"cluster": "east", "cells": {"location": "east"}}
        self.add(SYNCTARGETS, name, cluster=workspace, spec=spec)

    def add_secret(
        self,
        content: bytes = KUBECONFIG,
        name: str = "east-kubeconfig",
        cluster: str = "root",
        key: str = "kubeconfig",
    ) -> None:
        """Put a kubeconfig Secret upstream."""
        data = {key: base64.b64encode(content).decode()}
        self.add(SECRETS, name, "kcpctl-system", cluster, data=data)

    def add_path(self, path: str, cluster: str) -> None:
        """Let a path lead to a logical cluster."""
        for name in (path, cluster):
            meta = {"name": "cluster", "annotations": {"kcp.io/cluster": cluster}}
            resource = f"/clusters/{name}{LOGICAL_CLUSTERS.path(name='cluster')}"
            self.up.served[resource] = {"kind": "LogicalCluster", "metadata": meta}

    def grant(self, cluster: str, verb: str, resource: Resource, name: str) -> None:
        """Let everybody do something in a workspace."""
        self.up.grants.add((cluster, verb, resource.plural, name))

    def change_spec(self, name: str = "east", **spec: Any) -> None:
        """Change fields of a SyncTarget's spec; None removes one."""
        path = self.path(SYNCTARGETS, name)
        self.up.put(path, merged(self.up.objects[path], {"spec": spec}))

    def beat(self, name: str = "east", cluster: str = "root", *, at: float | None = None) -> None:
        """Let the syncer send a heartbeat."""
        path = self.path(SYNCTARGETS, name, cluster=cluster)
        stamp = format_time(self.clock.time() if at is None else at)
        status = {"lastSyncerHeartbeatTime": stamp, "lastHeartbeatTime": stamp}
        self.up.put(path, merged(self.up.objects[path], {"status": status}))

    def let_leave(self, name: str = "east", cluster: str = "root") -> None:
        """Let the syncer take off the target whatever was asked to leave it."""
        key = sync_target_key(cluster, name)
        for path, obj in list(self.up.objects.items()):
            metadata = copy.deepcopy(obj["metadata"])
            if not (metadata.get("annotations") or {}).pop(deletion_annotation(key), ""):
                continue
            metadata["labels"].pop(state_label(key), "")
            finalizers = metadata.get("finalizers", [])
            metadata["finalizers"] = [one for one in finalizers if one != syncer_finalizer(key)]
            self.up.put(path, {**obj, "metadata": metadata})

    def connect(self, name: str = "east", cluster: str = "root") -> None:
        """Let the pool say that the cluster is connected."""
        self.pool.set(key_of(cluster, "", name), ConnectionState.READY, "Connected")

    def disconnect(self, reason: str = "ConnectionFailed", message: str = "refused") -> None:
        """Let the pool say that it is not."""
        self.pool.set("root|east", ConnectionState.DISCONNECTED, reason, message)

    def roll_out(self, available: int = 1, **status: Any) -> None:
        """Let the cluster's Deployment controller report."""
        for path, obj in list(self.down.objects.items()):
            if "/deployments/" in path:
                status.setdefault("observedGeneration", obj["metadata"]["generation"])
                self.down.put(path, {**obj, "status": {"availableReplicas": available, **status}})

    def reconcile(self, name: str = "east", cluster: str = "root") -> float | None:
        """Make one pass, confined as a worker's is; return the seconds of its requeue."""
        key = key_of(cluster, "", name)
        confine(cluster)
        try:
            result: Result | None = self.reconciler.reconcile(Request.from_key(key))
        finally:
            confine("")
        return None if result is None else result.requeue_after_seconds

    def make_ready(self, name: str = "east", cluster: str = "root") -> None:
        """Bring a new Managed target to Ready."""
        self.add_secret(cluster=cluster)
        self.add_target(name, cluster)
        self.reconcile(name, cluster)
        self.reconcile(name, cluster)
        self.connect(name, cluster)
        self.reconcile(name, cluster)
        self.roll_out()
        self.beat(name, cluster)
        self.reconcile(name, cluster)
        self.take()

    def take(self) -> None:
        """Forget the calls and events so far."""
        self.up.calls.clear()
        self.up.bodies.clear()
        self.down.calls.clear()
        self.recorder.lines.clear()

    def cut_off_call(self, number: int) -> None:
        """Let the call of that number, to either server, fail once: the process died there."""
        count = itertools.count()

        def wrap(server: Server) -> None:
            answer = server._answer

            def cut(*args: Any) -> Unstructured:
                if next(count) == number:
                    raise ServiceUnavailable("cut off")
                return answer(*args)

            server._answer = cut  # type: ignore[method-assign, assignment]

        wrap(self.up)
        wrap(self.down)

    def delete_target(self, name: str = "east", cluster: str = "root") -> None:
        """Ask for the deletion of a SyncTarget."""
        obj = self.up.objects[self.path(SYNCTARGETS, name, cluster=cluster)]
        obj["metadata"]["deletionTimestamp"] = format_time(self.clock.time())

    def target(self, name: str = "east", cluster: str = "root") -> SyncTarget:
        """Return the SyncTarget as stored."""
        found = self.up.objects[self.path(SYNCTARGETS, name, cluster=cluster)]
        return msgspec.convert(found, SyncTarget)

    def exists(self, name: str = "east") -> bool:
        """Whether the SyncTarget is still there."""
        return self.path(SYNCTARGETS, name) in self.up.objects

    def condition(self, type_: str, name: str = "east", cluster: str = "root") -> str:
        """Return ``Status Reason`` of a condition, or "" without it."""
        for one in self.target(name, cluster).status.conditions:
            if one.type == type_:
                return f"{one.status} {one.reason}"
        return ""

    def message(self, type_: str, name: str = "east", cluster: str = "root") -> str:
        """Return a condition's message."""
        found = self.target(name, cluster).status.conditions
        return next(c.message for c in found if c.type == type_)

    def since(self, type_: str) -> str:
        """Return a condition's transition time."""
        found = self.target().status.conditions
        return cast(str, next(c.last_transition_time for c in found if c.type == type_))

    def add_downstream(
        self, resource: Resource, name: str, namespace: str = "", **body: Any
    ) -> str:
        """Put an object on the physical cluster."""
        meta = {"name": name, **body.pop("metadata", {})}
        if namespace:
            meta["namespace"] = namespace
        path = resource.path(namespace=namespace or None, name=name)
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **body}
        self.down.put(path, obj)
        return path


@pytest.fixture(scope="session")
def io_loop() -> Iterator[IOLoop]:
    with IOLoop("test-io") as loop:
        yield loop


@pytest.fixture
def world(io_loop: IOLoop) -> World:
    return World(io_loop)


@pytest.fixture
def workspaces(io_loop: IOLoop) -> World:
    return World(io_loop, multi=True)
