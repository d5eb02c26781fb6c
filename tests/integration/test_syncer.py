"""The syncer between two control planes, over real sockets."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient, Client, ClientConfig
from kcpctl.errors import Forbidden, NotFound, ServiceUnavailable
from kcpctl.reconcilers.synctarget.eviction import evict
from kcpctl.runtime import SYSTEM_CLOCK, IOLoop, start_thread
from kcpctl.syncer import GateClosed, Syncer, SyncerOptions, SyncFailed, run_syncer
from kcpctl.syncer.target import Target
from kcpctl.testing import ControlPlane, eventually

OWNER = "internal.workload.kcp.io/cluster"


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """The downstream cluster: one ordinary cluster whose Deployments run."""
    with ControlPlane(workspaces=False, kubelet=True) as running:
        yield running


class Agent:
    """A syncer on a thread, stopped at the end of a with block."""

    def __init__(
        self, upstream: Client, downstream: Client, target: Target, **options: Any
    ) -> None:
        settings = {
            "sync_target_name": target.name,
            "sync_target_uid": target.uid,
            "heartbeat_interval_seconds": 0.5,
            "namespace_clean_delay_seconds": 0.2,
            **options,
        }
        self.syncer = Syncer(SyncerOptions(**settings), upstream=upstream, downstream=downstream)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = start_thread(lambda: self.syncer.run(self._stop), name="test-syncer")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(30)
        assert not self._thread.is_alive()


class World:
    """A workspace with the SyncTarget ``east``, and the cluster that it stands for."""

    def __init__(self, upstream: Client, downstream: Client) -> None:
        self.upstream = upstream
        self.downstream = downstream
        self.target = self.make_target()

    def make_target(self) -> Target:
        made = self.upstream.resource(SYNCTARGETS).create(
            {
                "apiVersion": SYNCTARGETS.api_version,
                "kind": SYNCTARGETS.kind,
                "metadata": {"name": "east"},
                "spec": {"kcpCluster": "root"},
            }
        )
        return Target(self.upstream.cluster_name, "east", made["metadata"]["uid"])

    @property
    def sync_target(self) -> Unstructured:
        return self.upstream.resource(SYNCTARGETS).get("east")

    def condition(self, type_: str) -> tuple[str, str] | None:
        """Return status and reason of a condition of the SyncTarget."""
        found = (self.sync_target.get("status") or {}).get("conditions") or []
        return next(
            (((one["status"], one["reason"]) for one in found if one["type"] == type_)), None
        )

    def state_of(self, resource: Resource) -> str:
        """Return what syncedResources says of a type."""
        found = self.sync_target["status"]["syncedResources"]
        return next(str(one["state"]) for one in found if one["resource"] == resource.plural)

    def agent(self, **options: Any) -> Agent:
        return Agent(self.upstream, self.downstream, self.target, **options)

    def once(self, **options: Any) -> None:
        self.agent(**options).syncer.run_once()

    def create(self, resource: Resource, name: str = "web", **fields: Any) -> Unstructured:
        labels = {self.target.state_label: "Sync", **fields.pop("labels", {})}
        metadata = {"name": name, "namespace": "default", "labels": labels}
        return self.upstream.resource(resource).create(
            {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": metadata,
                **fields,
            }
        )

    def deploy(self, replicas: int = 1) -> Unstructured:
        labels = {"app": "web"}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        }
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        return self.create(DEPLOYMENTS, spec=spec)

    @property
    def namespace(self) -> str:
        """The downstream namespace of upstream's ``default``, "" while there is none."""
        found = self.downstream.resource(NAMESPACES).list(
            label_selector=self.target.downstream_selector
        )
        return found.items[0]["metadata"]["name"] if found.items else ""

    def copy(self, resource: Resource, name: str = "web") -> Unstructured | None:
        if not (namespace := self.namespace):
            return None
        try:
            return self.downstream.resource(resource).get(name, namespace=namespace)
        except NotFound:
            return None

    def await_copy(self, resource: Resource, name: str = "web") -> Unstructured:
        found = eventually(lambda: self.copy(resource, name))
        assert found is not None
        return found

    def up(self, resource: Resource, name: str = "web") -> Unstructured:
        return self.upstream.resource(resource).get(name, namespace="default")

    def await_gone(self, resource: Resource, name: str = "web") -> None:
        eventually(lambda: self.copy(resource, name) is None)


@pytest.fixture
def world(workspace: Client, cluster: ControlPlane) -> World:
    return World(workspace, cluster.client)


def available(world: World, replicas: int) -> bool:
    status = world.up(DEPLOYMENTS).get("status", {})
    generation = world.up(DEPLOYMENTS)["metadata"]["generation"]
    return bool(
        status.get("availableReplicas") == replicas
        and status.get("observedGeneration") == generation
    )


def test_a_deployment_runs_downstream_and_its_status_comes_back(world: World) -> None:
    world.deploy(replicas=2)
    with world.agent():
        eventually(lambda: available(world, 2))
        copy = world.await_copy(DEPLOYMENTS)
        assert copy["metadata"]["labels"] == {OWNER: world.target.key}
        managers = {entry["manager"] for entry in copy["metadata"]["managedFields"]}
        assert "kcpctl-syncer" in managers
        changes = {"spec": {"replicas": 3}}
        world.upstream.resource(DEPLOYMENTS).patch("web", changes, namespace="default")
        eventually(lambda: available(world, 3))


def test_all_types_go_down_and_nothing_is_written_at_rest(world: World) -> None:
    world.create(CONFIG_MAPS, data={"a": "b"})
    world.create(SECRETS, data={"a": "Yg=="})
    world.create(SERVICES, spec={"ports": [{"port": 80}], "selector": {"app": "web"}})
    world.deploy()
    resources = (CONFIG_MAPS, SECRETS, SERVICES, DEPLOYMENTS)
    with world.agent():
        eventually(lambda: available(world, 1))
        for resource in resources:
            world.await_copy(resource)
        eventually(lambda: "lastSyncTime" in world.sync_target["status"])

        def versions() -> list[str]:
            copies = [world.await_copy(resource) for resource in resources]
            originals = [world.up(resource) for resource in resources]
            return [obj["metadata"]["resourceVersion"] for obj in copies + originals]

        before = versions()
        beat = world.sync_target["status"]["lastHeartbeatTime"]
        eventually(lambda: world.sync_target["status"]["lastHeartbeatTime"] > beat)
        assert versions() == before


def test_out_of_band_deletions_and_drift_are_mended(world: World) -> None:
    world.create(CONFIG_MAPS, data={"a": "b"})
    with world.agent():
        first = world.await_copy(CONFIG_MAPS)["metadata"]["uid"]
        copies = world.downstream.resource(CONFIG_MAPS)
        copies.delete("web", namespace=world.namespace)
        eventually(lambda: world.await_copy(CONFIG_MAPS)["metadata"]["uid"] != first)
        copies.patch("web", {"data": {"a": "changed"}}, namespace=world.namespace)
        eventually(lambda: world.await_copy(CONFIG_MAPS)["data"] == {"a": "b"})
        copies.patch("web", {"metadata": {"labels": {OWNER: None}}}, namespace=world.namespace)
        eventually(lambda: OWNER in world.await_copy(CONFIG_MAPS)["metadata"].get("labels", {}))
        second = world.await_copy(CONFIG_MAPS)["metadata"]["uid"]
        world.downstream.resource(NAMESPACES).delete(world.namespace)
        eventually(lambda: world.await_copy(CONFIG_MAPS)["metadata"]["uid"] != second)


def test_removal_follows_and_the_empty_namespace_goes(world: World) -> None:
    world.create(CONFIG_MAPS, "deleted")
    world.create(CONFIG_MAPS, "unlabelled")
    world.create(CONFIG_MAPS, "asked")
    objects = world.upstream.resource(CONFIG_MAPS)
    with world.agent():
        for name in ("deleted", "unlabelled", "asked"):
            world.await_copy(CONFIG_MAPS, name)
        objects.delete("deleted", namespace="default")
        labels = {"metadata": {"labels": {world.target.state_label: None}}}
        objects.patch("unlabelled", labels, namespace="default")
        notes = {"metadata": {"annotations": {world.target.deletion_annotation: "now"}}}
        objects.patch("asked", notes, namespace="default")
        for name in ("deleted", "unlabelled", "asked"):
            world.await_gone(CONFIG_MAPS, name)
        eventually(lambda: not world.namespace)
    with pytest.raises(NotFound):
        world.up(CONFIG_MAPS, "deleted")
    for name in ("unlabelled", "asked"):
        metadata = world.up(CONFIG_MAPS, name)["metadata"]
        assert "finalizers" not in metadata
        assert world.target.state_label not in metadata.get("labels", {})
        assert world.target.deletion_annotation not in metadata.get("annotations", {})


def test_a_namespace_brings_its_objects_and_takes_them_back(world: World) -> None:
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}}
    world.upstream.resource(CONFIG_MAPS).create(plain, namespace="default")
    namespaces = world.upstream.resource(NAMESPACES)
    with world.agent():
        label = {"metadata": {"labels": {world.target.state_label: "Sync"}}}
        namespaces.patch("default", label)
        world.await_copy(CONFIG_MAPS, "plain")
        label["metadata"]["labels"][world.target.state_label] = None  # type: ignore[assignment]
        namespaces.patch("default", label)
        eventually(lambda: not world.namespace)
        assert "finalizers" not in world.up(CONFIG_MAPS, "plain")["metadata"]


def test_what_is_evicted_leaves_namespace_by_namespace_and_one_by_one(world: World) -> None:
    """The controller's half and the syncer's, until nothing is assigned."""
    world.create(CONFIG_MAPS, "by-itself")
    world.create(CONFIG_MAPS, "both")
    namespaces = world.upstream.resource(NAMESPACES)
    label = {"metadata": {"labels": {world.target.state_label: "Sync"}}}
    namespaces.patch("default", label)
    without = {"metadata": {"labels": {world.target.state_label: None}}}
    world.create(CONFIG_MAPS, "by-namespace")
    world.upstream.resource(CONFIG_MAPS).patch("by-namespace", without, namespace="default")
    names = ("by-itself", "both", "by-namespace")
    with world.agent():
        for name in names:
            world.await_copy(CONFIG_MAPS, name)
        now = SYSTEM_CLOCK.time()
        eventually(lambda: not evict(world.upstream, world.target.cluster, "east", now))
        for name in names:
            assert world.copy(CONFIG_MAPS, name) is None
            assert "finalizers" not in world.up(CONFIG_MAPS, name)["metadata"]
        marks = namespaces.get("default")["metadata"]
    assert world.target.state_label not in marks.get("labels", {})
    assert world.target.deletion_annotation not in marks.get("annotations", {})


def test_what_a_silent_syncer_has_is_asked_to_leave_and_goes_when_it_is_back(
    world: World, control_plane: ControlPlane
) -> None:
    from tests.integration.conftest import Controllers

    change = {"spec": {"evictionGracePeriod": "1s"}}
    world.upstream.resource(SYNCTARGETS).patch("east", change)
    world.create(CONFIG_MAPS, "settings")
    config = replace(control_plane.config, cluster=world.upstream.cluster_name)
    with Controllers(config, heartbeat_threshold_seconds=1.5, unhealthy_threshold_seconds=3.0):
        with world.agent():
            world.await_copy(CONFIG_MAPS, "settings")
            eventually(lambda: world.condition("Schedulable") == ("True", "Schedulable"))
        eventually(lambda: world.condition("Schedulable") == ("False", "Evicting"))
        marks = world.up(CONFIG_MAPS, "settings")["metadata"]["annotations"]
        assert world.target.deletion_annotation in marks
        assert world.condition("Ready") == ("False", "Unhealthy")
        assert world.copy(CONFIG_MAPS, "settings") is not None
        with world.agent():
            world.await_gone(CONFIG_MAPS, "settings")
            eventually(lambda: world.condition("Schedulable") == ("True", "Schedulable"))


def test_heartbeats_leave_the_rest_of_the_status_alone(world: World) -> None:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    body = {"status": {"conditions": [condition], "phase": "Ready"}}
    world.upstream.resource(SYNCTARGETS).patch("east", body, subresource="status")
    with world.agent():
        eventually(lambda: "lastHeartbeatTime" in world.sync_target["status"])
    status = world.sync_target["status"]
    assert (status["conditions"], status["phase"]) == ([condition], "Ready")
    assert status["lastHeartbeatTime"] == status["lastSyncerHeartbeatTime"]
    assert status["syncerIdentity"]


def test_heartbeats_count_the_copies(world: World) -> None:
    world.create(CONFIG_MAPS, "one")
    with world.agent(heartbeat_interval_seconds=0.2):
        eventually(lambda: world.sync_target["status"].get("resourceCount") == 1)
        assert world.sync_target["status"]["workloadCount"] == 0
        world.upstream.resource(CONFIG_MAPS).delete("one", namespace="default")
        eventually(lambda: world.sync_target["status"]["resourceCount"] == 0)


def test_everything_is_compared_again_now_and_then(world: World) -> None:
    """A stranger's object is not watched, and what was refused waits for a minute."""
    world.create(CONFIG_MAPS, "first")
    with world.agent(sync_interval_seconds=0.5) as agent:
        world.await_copy(CONFIG_MAPS, "first")
        session = agent.syncer._session
        assert session is not None
        theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}
        world.downstream.resource(CONFIG_MAPS).create(theirs, namespace=world.namespace)
        world.create(CONFIG_MAPS)
        eventually(lambda: session.progress.problems)
        world.downstream.resource(CONFIG_MAPS).delete("web", namespace=world.namespace)
        eventually(lambda: world.copy(CONFIG_MAPS))


def test_while_suspended_only_the_heartbeat_goes_on(world: World) -> None:
    """In neither direction, and nothing is removed; afterwards what was missed is done."""
    objects, targets = world.upstream.resource(CONFIG_MAPS), world.upstream.resource(SYNCTARGETS)
    world.create(CONFIG_MAPS, "kept")
    world.create(CONFIG_MAPS, "changed", data={"a": "b"})
    with world.agent() as agent:
        uid = world.await_copy(CONFIG_MAPS, "kept")["metadata"]["uid"]
        world.await_copy(CONFIG_MAPS, "changed")

        def suspend(value: bool) -> None:
            targets.patch("east", {"spec": {"maintenance": {"suspend": value}}})
            eventually(lambda: (found := agent.syncer._session) and found.suspended is value)

        eventually(lambda: world.condition("SyncerReady") == ("True", "SyncerConnected"))
        suspend(True)
        eventually(lambda: world.condition("SyncerReady") == ("False", "Suspended"))
        world.create(CONFIG_MAPS, "new")
        objects.delete("kept", namespace="default")
        objects.patch("changed", {"data": {"a": "c"}}, namespace="default")
        beat = world.sync_target["status"]["lastHeartbeatTime"]
        eventually(lambda: world.sync_target["status"]["lastHeartbeatTime"] > beat)
        assert world.copy(CONFIG_MAPS, "new") is None
        assert world.await_copy(CONFIG_MAPS, "kept")["metadata"]["uid"] == uid
        assert world.await_copy(CONFIG_MAPS, "changed")["data"] == {"a": "b"}

        suspend(False)
        world.await_copy(CONFIG_MAPS, "new")
        world.await_gone(CONFIG_MAPS, "kept")
        eventually(lambda: world.await_copy(CONFIG_MAPS, "changed")["data"] == {"a": "c"})
        eventually(lambda: world.condition("SyncerReady") == ("True", "SyncerConnected"))


def test_the_restrictions_of_the_target_count_as_they_change(world: World) -> None:
    """Without a restart, and whatever the objects' own labels say."""
    targets = world.upstream.resource(SYNCTARGETS)
    world.create(CONFIG_MAPS, "shop", labels={"team": "shop"})
    world.create(CONFIG_MAPS, "bank", labels={"team": "bank"})
    world.create(SECRETS, "shop", labels={"team": "shop"})
    shop = {"matchLabels": {"team": "shop"}}
    targets.patch("east", {"spec": {"selector": shop}})
    with world.agent():
        for resource in (CONFIG_MAPS, SECRETS):
            world.await_copy(resource, "shop")
        assert world.copy(CONFIG_MAPS, "bank") is None

        targets.patch("east", {"spec": {"supportedResourceTypes": ["configmaps"]}})
        world.await_gone(SECRETS, "shop")
        eventually(lambda: "finalizers" not in world.up(SECRETS, "shop")["metadata"])
        world.await_copy(CONFIG_MAPS, "shop")

        targets.patch("east", {"spec": {"selector": None}})
        world.await_copy(CONFIG_MAPS, "bank")

        targets.patch("east", {"spec": {"selector": {"namespaceSelector": shop}}})
        eventually(lambda: not world.namespace)
        world.upstream.resource(NAMESPACES).patch(
            "default", {"metadata": {"labels": {"team": "shop"}}}
        )
        for name in ("shop", "bank"):
            world.await_copy(CONFIG_MAPS, name)
        assert world.copy(SECRETS, "shop") is None


def test_restrictions_that_make_no_sense_pause_the_syncer(world: World) -> None:
    """A server without the schema's rules lets them in; the controller tells of them."""
    world.create(CONFIG_MAPS, "kept")
    targets = world.upstream.resource(SYNCTARGETS)
    with world.agent() as agent:
        world.await_copy(CONFIG_MAPS, "kept")
        targets.patch("east", {"spec": {"selector": {"matchLabels": {"a b": "c"}}}})
        eventually(lambda: (found := agent.syncer._session) and found.suspended)
        world.create(CONFIG_MAPS, "new")
        beat = world.sync_target["status"]["lastHeartbeatTime"]
        eventually(lambda: world.sync_target["status"]["lastHeartbeatTime"] > beat)
        assert world.copy(CONFIG_MAPS, "kept") is not None
        assert world.copy(CONFIG_MAPS, "new") is None
        targets.patch("east", {"spec": {"selector": None}})
        world.await_copy(CONFIG_MAPS, "new")


def test_a_syncer_that_starts_suspended_beats_and_touches_nothing(world: World) -> None:
    suspend = {"spec": {"maintenance": {"suspend": True}}}
    world.upstream.resource(SYNCTARGETS).patch("east", suspend)
    world.create(CONFIG_MAPS)
    with world.agent() as agent:
        eventually(lambda: "lastHeartbeatTime" in world.sync_target.get("status", {}))
        session = agent.syncer._session
        assert session is not None
        assert not any(controller.running for controller in session._controllers)
    assert not world.namespace
    with pytest.raises(GateClosed, match="is suspended"):
        world.once()


def test_health_follows_the_sync_target(world: World, unused_port: int) -> None:
    def answer(path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}{path}") as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    with world.agent(health_bind_address=f"127.0.0.1:{unused_port}"):
        eventually(lambda: answer("/readyz") == 200)
        world.upstream.resource(SYNCTARGETS).delete("east")
        eventually(lambda: answer("/readyz") == 503)
        assert answer("/healthz") == 200


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_sync_target_that_is_gone_or_another_stops_everything_downstream(world: World) -> None:
    world.create(CONFIG_MAPS)
    with world.agent() as agent:
        uid = world.await_copy(CONFIG_MAPS)["metadata"]["uid"]
        world.upstream.resource(SYNCTARGETS).delete("east")
        eventually(lambda: agent.syncer._session is None)
        world.upstream.resource(CONFIG_MAPS).delete("web", namespace="default")
        world.create(CONFIG_MAPS, "late")
        world.make_target()
        SYSTEM_CLOCK.sleep(0.5)
        assert world.await_copy(CONFIG_MAPS)["metadata"]["uid"] == uid
        assert world.copy(CONFIG_MAPS, "late") is None
        assert "lastHeartbeatTime" not in world.sync_target.get("status", {})


def test_an_upstream_that_was_restarted_empty_costs_nothing_downstream(
    cluster: ControlPlane,
) -> None:
    with ControlPlane() as plane:
        world = World(plane.client, cluster.client)
        world.create(CONFIG_MAPS)
        with world.agent() as agent:
            uid = world.await_copy(CONFIG_MAPS)["metadata"]["uid"]
            plane.restart()
            eventually(lambda: agent.syncer._session is None)
            assert world.await_copy(CONFIG_MAPS)["metadata"]["uid"] == uid


def test_once_syncs_everything_and_beats(world: World) -> None:
    world.create(CONFIG_MAPS, data={"a": "b"})
    world.once()
    assert world.await_copy(CONFIG_MAPS)["data"] == {"a": "b"}
    status = world.sync_target["status"]
    assert status["lastSyncTime"] == status["lastHeartbeatTime"]


def test_once_says_what_it_could_not_sync(world: World) -> None:
    world.create(CONFIG_MAPS, "good")
    world.once()
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}
    world.downstream.resource(CONFIG_MAPS).create(theirs, namespace=world.namespace)
    world.create(CONFIG_MAPS)
    with pytest.raises(SyncFailed, match=r"workload\.kcp\.io/adopt"):
        world.once()


def test_once_refuses_another_uid(world: World) -> None:
    world.create(CONFIG_MAPS)
    with pytest.raises(GateClosed, match="nothing was touched"):
        world.once(sync_target_uid="another")
    assert not world.namespace


def rules(*rows: tuple[str, str, str]) -> list[Unstructured]:
    return [
        {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}
        for group, resources, verbs in rows
    ]


NAMED_SYNCER = "metadata.name=syncer"


def account_token(admin: Client) -> str:
    """Make the ServiceAccount ``syncer`` and return a token of it."""
    accounts = admin.resource(SERVICE_ACCOUNTS)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "syncer"}}
    accounts.create(account, namespace="default")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = accounts.create(request, namespace="default", subresource="token", name="syncer")
    token: str = made["status"]["token"]
    return token


def restricted(plane: ControlPlane, admin: Client, allowed: list[Unstructured]) -> ClientConfig:
    """Return the configuration of a ServiceAccount that may do just that."""
    api = CLUSTER_ROLES.api_version
    role = {"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": "syncer"}}
    admin.resource(CLUSTER_ROLES).create({**role, "rules": allowed})
    subject = {"kind": "ServiceAccount", "name": "syncer", "namespace": "default"}
    reference = {"apiGroup": CLUSTER_ROLES.group, "kind": "ClusterRole", "name": "syncer"}
    binding = {"apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": "syncer"}}
    admin.resource(CLUSTER_ROLE_BINDINGS).create(
        {**binding, "subjects": [subject], "roleRef": reference}
    )
    token = account_token(admin)
    config = plane.config
    return ClientConfig(
        server=config.server,
        ca=config.ca,
        cluster=admin.cluster_name if plane.workspaces else None,
        token=token,
    )


UPSTREAM_RULES = rules(
    ("workload.kcp.io", "synctargets", "get list watch"),
    ("workload.kcp.io", "synctargets/status", "patch"),
    ("", "namespaces configmaps secrets services", "get list watch patch"),
    ("apps", "deployments", "get list watch patch"),
    ("", "services/status", "patch"),
    ("apps", "deployments/status", "patch"),
)
DOWNSTREAM_RULES = rules(
    ("", "namespaces", "get list watch create patch delete"),
    ("", "configmaps secrets services", "get list watch create patch delete"),
    ("apps", "deployments", "get list watch create patch delete"),
)


def test_these_rights_are_enough(control_plane: ControlPlane, workspace: Client) -> None:
    """Decision 11: least rights upstream. What is granted here is what is used."""
    with ControlPlane(workspaces=False, kubelet=True) as plane, IOLoop("test-io") as loop:
        world = World(workspace, plane.client)
        upstream = AsyncClient.plain(restricted(control_plane, workspace, UPSTREAM_RULES))
        downstream = AsyncClient.plain(restricted(plane, plane.client, DOWNSTREAM_RULES))
        clients = [Client(upstream, loop), Client(downstream, loop)]
        world.create(CONFIG_MAPS)
        world.deploy()
        with Agent(clients[0], clients[1], world.target):
            eventually(lambda: available(world, 1))
            eventually(lambda: "lastSyncTime" in world.sync_target["status"])
            world.upstream.resource(DEPLOYMENTS).delete("web", namespace="default")
            world.upstream.resource(CONFIG_MAPS).delete("web", namespace="default")
            eventually(lambda: not world.namespace)
            eventually(lambda: world.condition("SyncerAuthorized") == ("True", "Authorized"))
        less = {"rules": [rule for rule in DOWNSTREAM_RULES if rule["apiGroups"] != ["apps"]]}
        less["rules"] += rules(("apps", "deployments", "get list watch"))
        plane.client.resource(CLUSTER_ROLES).patch("syncer", less)
        with Agent(clients[0], clients[1], world.target):
            eventually(
                lambda: world.condition("SyncerAuthorized") == ("False", "SyncerUnauthorized")
            )
        for client in clients:
            client.close()


def test_a_cluster_that_was_restarted_empty_is_filled_again(workspace: Client) -> None:
    with ControlPlane(workspaces=False) as plane:
        world = World(workspace, plane.client)
        world.create(CONFIG_MAPS, data={"a": "b"})
        with world.agent():
            first = world.await_copy(CONFIG_MAPS)["metadata"]["uid"]
            plane.restart()
            found = eventually(lambda: world.copy(CONFIG_MAPS))
            assert found is not None
            assert found["metadata"]["uid"] != first


def write_kubeconfig(path: Path, config: ClientConfig) -> None:
    """Rewrite a kubeconfig in place, as a mounted Secret is."""
    assert config.ca is not None
    url = config.server + (f"/clusters/{config.cluster}" if config.cluster else "")
    ca = base64.b64encode(config.ca).decode()
    data = {
        "clusters": [{"name": "x", "cluster": {"server": url, "certificate-authority-data": ca}}],
        "users": [{"name": "x", "user": {"token": config.token}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(data))
    fresh.replace(path)


def test_a_renewed_token_is_used_without_a_restart(
    control_plane: ControlPlane, world: World, cluster: ControlPlane, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    write_kubeconfig(file, restricted(control_plane, world.upstream, UPSTREAM_RULES))
    options = SyncerOptions(
        sync_target_name="east",
        sync_target_uid=world.target.uid,
        heartbeat_interval_seconds=0.5,
    )
    stop = threading.Event()
    thread = start_thread(
        lambda: run_syncer(
            options, from_kubeconfig=file, to_kubeconfig=cluster.kubeconfig, stop=stop
        ),
        name="test-syncer",
    )
    try:
        beat = eventually(lambda: world.sync_target["status"]["lastHeartbeatTime"])
        # The account is made anew, so the token it had is worth nothing any more.
        accounts = world.upstream.resource(SERVICE_ACCOUNTS)
        accounts.delete("syncer", namespace="default")
        eventually(lambda: not accounts.list(namespace="default", field_selector=NAMED_SYNCER))
        config = replace(control_plane.config, cluster=world.upstream.cluster_name)
        write_kubeconfig(file, replace(config, token=account_token(world.upstream)))
        eventually(lambda: world.sync_target["status"]["lastHeartbeatTime"] > beat)
        world.create(CONFIG_MAPS)
        world.await_copy(CONFIG_MAPS)
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> set[Resource]:
    """What the workspace says that it serves: no Deployments yet, as a kcp has none."""
    there = {CONFIG_MAPS, SECRETS, SERVICES}
    monkeypatch.setattr(Client, "has_resource", lambda _, resource: resource in there)
    monkeypatch.setattr("kcpctl.syncer.syncer._DISCOVER_SECONDS", 0.2)
    return there


def test_a_type_is_left_alone_until_the_workspace_serves_it(
    world: World, served: set[Resource]
) -> None:
    world.create(CONFIG_MAPS)
    world.deploy()
    with world.agent():
        world.await_copy(CONFIG_MAPS)
        eventually(lambda: world.state_of(DEPLOYMENTS) == "Pending")
        assert world.copy(DEPLOYMENTS) is None
        served.add(DEPLOYMENTS)
        world.await_copy(DEPLOYMENTS)
        eventually(lambda: world.state_of(DEPLOYMENTS) == "Accepted")


def test_a_type_that_the_cluster_does_not_serve_keeps_no_other_from_being_synced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_resource(client: Client, resource: Resource) -> bool:
        return client is world.upstream or resource != DEPLOYMENTS

    async def served_versions(_: AsyncClient, group: str) -> dict[str, list[str]]:
        return {} if group else {"configmaps": ["v1"]}

    monkeypatch.setattr(Client, "has_resource", has_resource)
    monkeypatch.setattr(AsyncClient, "served_versions", served_versions)
    world.create(CONFIG_MAPS)
    with world.agent():
        world.await_copy(CONFIG_MAPS)
        eventually(lambda: world.state_of(DEPLOYMENTS) == "Incompatible")
        assert world.state_of(CONFIG_MAPS) == "Accepted"
        assert world.sync_target["status"]["supportedResourceVersions"] == {"configmaps": "v1"}


def test_copies_of_a_type_that_is_not_served_any_more_stay(
    world: World, served: set[Resource]
) -> None:
    world.create(CONFIG_MAPS)
    world.deploy()
    served.add(DEPLOYMENTS)
    with world.agent():
        world.await_copy(CONFIG_MAPS)
        world.await_copy(DEPLOYMENTS)
    served.remove(DEPLOYMENTS)
    with world.agent():
        world.upstream.resource(CONFIG_MAPS).delete("web", namespace="default")
        world.await_gone(CONFIG_MAPS)
    assert world.copy(DEPLOYMENTS) is not None


@pytest.mark.parametrize("error", [Forbidden("no discovery"), ServiceUnavailable("later")])
def test_a_workspace_that_does_not_tell_what_it_serves_is_served_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    answers = iter([error])

    def has_resource(*_: object) -> bool:
        for one in answers:
            raise one
        return True

    monkeypatch.setattr(Client, "has_resource", has_resource)
    monkeypatch.setattr("kcpctl.syncer.syncer._ABSENT_SECONDS", 0.1)
    world.deploy()
    with world.agent():
        world.await_copy(DEPLOYMENTS)


def test_a_workspace_that_refused_to_tell_is_asked_again_while_a_type_is_waited_for(
    control_plane: ControlPlane, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kcp that starts refuses discovery too, and never serves some of the types."""
    refusals = iter([Forbidden("starting")] * 4)

    def has_resource(_: Client, resource: Resource) -> bool:
        for one in refusals:
            raise one
        return resource is not DEPLOYMENTS

    monkeypatch.setattr(Client, "has_resource", has_resource)
    monkeypatch.setattr("kcpctl.syncer.syncer._AWAITED_SECONDS", 0.1)
    allowed = [rule for rule in UPSTREAM_RULES if "deployments" not in rule["resources"]]
    upstream = AsyncClient.plain(restricted(control_plane, world.upstream, allowed))
    with IOLoop("test-io") as loop:
        client = Client(upstream, loop)
        with Agent(client, world.downstream, world.target):
            eventually(lambda: world.sync_target["status"]["lastHeartbeatTime"])
        client.close()
