"""What a syncer is granted is what it uses: a whole life is recorded and compared."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import TENANT_LABEL, syncer_id
from kcpctl.apis.resource import (
    CERTIFICATE_SIGNING_REQUESTS,
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
from kcpctl.client.access import Access
from kcpctl.client.credentials import Credential
from kcpctl.client.http import HttpTransport
from kcpctl.errors import Forbidden
from kcpctl.reconcilers.synctarget.manifests import (
    SyncerInputs,
    downstream_objects,
    upstream_objects,
)
from kcpctl.runtime import IOLoop, start_thread
from kcpctl.syncer import Syncer, SyncerOptions
from kcpctl.syncer.keeper import CertificateKeeper
from kcpctl.syncer.login import ClientLogin, without_credentials
from kcpctl.syncer.target import Target
from kcpctl.testing import ControlPlane, FakeClock, eventually
from kcpctl.testing.recording import RecordingTransport

if TYPE_CHECKING:
    from tests.integration.conftest import Site

KINDS: dict[str, Resource] = {
    one.kind: one for one in (NAMESPACES, SERVICE_ACCOUNTS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS)
}
SYNCED = [CONFIG_MAPS, SECRETS, SERVICES, DEPLOYMENTS]
CSR_GROUP = {CERTIFICATE_SIGNING_REQUESTS.group}
EXTERNAL: dict[str, Any] = {"kcpCluster": "root", "deployment": {"mode": "External"}}

Right = tuple[str, str, str]


def granted(objects: Sequence[Unstructured]) -> dict[Right, list[str]]:
    """Return each (verb, group, resource) of the roles, with the names it is limited to."""
    return {
        (verb, group, resource): rule.get("resourceNames", [])
        for obj in objects
        for rule in obj.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def identity(
    plane: ControlPlane, admin: Client, objects: Sequence[Unstructured], namespace: str, name: str
) -> ClientConfig:
    """Make the identity as the controller would, and return the configuration of it."""
    for obj in objects:
        if (resource := KINDS.get(obj["kind"])) is not None:
            admin.resource(resource).apply(obj, field_manager="test", force=True)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    accounts = admin.resource(SERVICE_ACCOUNTS)
    made = accounts.create(request, namespace=namespace, subresource="token", name=name)
    return ClientConfig(
        server=plane.config.server,
        ca=plane.config.ca,
        cluster=admin.cluster_name if plane.workspaces else None,
        token=made["status"]["token"],
    )


class Life:
    """A syncer with the rights that the controller grants, recorded on both sides."""

    def __init__(self, site: Site, cluster: ControlPlane) -> None:
        self.site = site
        self.down = cluster.client
        owner = site.target(**EXTERNAL)
        self.target = Target(site.cluster, "east", owner["metadata"]["uid"])
        inputs = SyncerInputs(
            id="kcp-syncer-east",
            name="east",
            uid=self.target.uid,
            cluster=site.cluster,
            namespace="kcp-syncer-east",
            image="x",
            server="https://x",
        )
        reference = {
            "apiVersion": SYNCTARGETS.api_version,
            "kind": SYNCTARGETS.kind,
            "name": "east",
            "uid": self.target.uid,
        }
        self.objects = {
            "upstream": upstream_objects(inputs, "default", reference),
            "downstream": downstream_objects(inputs),
        }
        self.configs = {
            "upstream": identity(
                site.plane, site.upstream, self.objects["upstream"], "default", inputs.id
            ),
            "downstream": identity(
                cluster, self.down, self.objects["downstream"], inputs.namespace, inputs.id
            ),
        }
        self.transports: dict[str, RecordingTransport] = {}
        self.namespace_name = ""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run a syncer, as another process would after the end of the last one."""
        with ExitStack() as stack:
            loop = stack.enter_context(IOLoop("kcpctl-syncer-io"))
            clients = [self._client(stack, side, loop) for side in ("upstream", "downstream")]
            options = SyncerOptions(
                sync_target_name="east",
                sync_target_uid=self.target.uid,
                heartbeat_interval_seconds=0.2,
                namespace_clean_delay_seconds=0.1,
            )
            syncer = Syncer(options, upstream=clients[0], downstream=clients[1])
            stop = threading.Event()
            thread = start_thread(lambda: syncer.run(stop), name="syncer")
            stack.callback(thread.join)
            stack.callback(stop.set)
            yield

    def _client(self, stack: ExitStack, side: str, loop: IOLoop) -> Client:
        config = self.configs[side]
        transport = self.transports.setdefault(side, RecordingTransport(HttpTransport(config)))
        prefix = f"/clusters/{config.cluster}" if config.cluster else ""
        client = Client(
            AsyncClient(transport, cluster_name=config.cluster or "root", prefix=prefix), loop
        )
        stack.callback(client.close)
        return client

    @property
    def namespace(self) -> str:
        """The copy of ``default``."""
        selector = self.target.downstream_selector
        (found,) = self.down.resource(NAMESPACES).list(label_selector=selector).items
        name: str = found["metadata"]["name"]
        return name

    def copy(self, resource: Resource) -> Unstructured:
        return self.down.resource(resource).get("web", namespace=self.namespace)

    def up(self, resource: Resource) -> Unstructured:
        return self.site.upstream.resource(resource).get("web", namespace="default")

    def assign(self) -> None:
        labels = {"app": "web"}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        }
        selector = {"matchLabels": labels}
        self.site.assign(
            DEPLOYMENTS, "web", spec={"replicas": 1, "selector": selector, "template": template}
        )
        self.site.assign(SERVICES, "web", spec={"ports": [{"port": 80}]})
        self.site.assign(CONFIG_MAPS, "web", data={"a": "b"})
        self.site.assign(SECRETS, "web", data={})

    def live(self) -> None:
        """Everything that a syncer has to do, from the first object to the last."""
        upstream = self.site.upstream
        self.assign()
        for resource in SYNCED:
            eventually(lambda resource=resource: self.copy(resource))  # type: ignore[misc]
        eventually(lambda: self.up(DEPLOYMENTS)["status"]["availableReplicas"] == 1)
        self.down.resource(SERVICES).patch(
            "web",
            {"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}},
            namespace=self.namespace,
            subresource="status",
        )
        eventually(lambda: self.up(SERVICES)["status"]["loadBalancer"]["ingress"])
        eventually(lambda: self.site.get()["status"]["nodeCount"] > 0)
        self._disturb()
        for resource in SYNCED:
            upstream.resource(resource).delete("web", namespace="default")
        self.namespace_name = self.namespace
        empty = self.target.downstream_selector
        eventually(lambda: not self.down.resource(NAMESPACES).list(label_selector=empty).items)
        eventually(lambda: not upstream.resource(DEPLOYMENTS).list(namespace="default").items)

    def _disturb(self) -> None:
        """Damage downstream, mended; then a namespace that is given to the target and taken."""
        self.down.resource(CONFIG_MAPS).delete("web", namespace=self.namespace)
        eventually(lambda: self.copy(CONFIG_MAPS))
        copies = self.down.resource(NAMESPACES)
        copies.patch(self.namespace, {"metadata": {"labels": {TENANT_LABEL: None}}})
        eventually(lambda: copies.get(self.namespace)["metadata"]["labels"][TENANT_LABEL])
        namespaces = self.site.upstream.resource(NAMESPACES)
        marks = {
            "labels": {self.target.state_label: "Sync"},
            "annotations": {self.target.deletion_annotation: "2030-01-01T00:00:00Z"},
        }
        namespaces.create({"metadata": {"name": "leaving", **marks}})
        state = self.target.state_label
        eventually(lambda: state not in (namespaces.get("leaving")["metadata"].get("labels") or {}))


@pytest.fixture(scope="module")
def life(
    control_plane: ControlPlane, kubelet_cluster: ControlPlane, tmp_path_factory: Any
) -> Iterator[Life]:
    from tests.integration.conftest import new_site

    with new_site(control_plane, tmp_path_factory.mktemp("life")) as site:
        lived = Life(site, kubelet_cluster)
        with lived.running():
            lived.live()
        yield lived


# Everybody may ask what they may do themselves.
EVERYBODYS = {"selfsubjectaccessreviews"}
# Granted and not used here. Our control plane streams lists; servers before 1.32 do not.
EXCEPTIONS = {"list"}


@pytest.mark.parametrize("side", ["upstream", "downstream"])
def test_a_syncer_uses_what_it_is_granted_and_no_more(life: Life, side: str) -> None:
    rights = granted(life.objects[side])
    used = {one[:3] for one in life.transports[side].used if one.resource not in EVERYBODYS}
    assert used <= rights.keys()
    unused = rights.keys() - used
    assert {verb for verb, _, _ in unused} == EXCEPTIONS
    # Whoever is listed would have been watched.
    assert {one[1:] for one in unused} == {one[1:] for one in used if one[0] == "watch"}


def test_a_syncer_asks_for_no_sync_target_but_its_own(life: Life) -> None:
    rights = granted(life.objects["upstream"])
    own = [one for one in life.transports["upstream"].used if one.group == SYNCTARGETS.group]
    assert {one.name for one in own} == {"east"}
    assert all(rights[one[:3]] == ["east"] for one in own)


def test_a_syncer_writes_downstream_to_namespaces_of_its_own_only(life: Life) -> None:
    used = life.transports["downstream"].used
    writes = [one for one in used if one.verb in ("create", "patch", "delete")]
    places = {one.namespace or one.name for one in writes} - {""}
    assert len(places) == 1
    assert life.namespace_name in places


class Certified:
    """A certificate's keeper over real sockets, each of its two identities recorded."""

    def __init__(self, site: Site, loop: IOLoop, stack: ExitStack) -> None:
        self.site = site
        self.clock = FakeClock()
        owner = site.target(**EXTERNAL)
        self.uid = owner["metadata"]["uid"]
        self.id = syncer_id("east", self.uid)
        inputs = SyncerInputs(
            id=self.id,
            name="east",
            uid=self.uid,
            cluster=site.cluster,
            namespace=self.id,
            image="x",
            server="https://x",
            certificate=True,
        )
        reference = {
            "apiVersion": SYNCTARGETS.api_version,
            "kind": SYNCTARGETS.kind,
            "name": "east",
            "uid": self.uid,
        }
        self.objects = upstream_objects(inputs, "default", reference)
        self.config = identity(site.plane, site.upstream, self.objects, "default", self.id)
        self.requests = site.upstream.resource(CERTIFICATE_SIGNING_REQUESTS)
        self.bootstrap: set[Access] = set()
        self.certificate: set[Access] = set()
        self.loop = loop
        self.keeper = loop.run(self._keeper())
        stack.callback(lambda: loop.run(self.keeper.close()))

    async def _keeper(self) -> CertificateKeeper:
        keeper = CertificateKeeper(
            "east", self.uid, seconds=3600, login=self._login, clock=self.clock
        )
        await keeper.start()
        return keeper

    def _login(self, credential: Credential | None) -> ClientLogin:
        config, used = self.config, self.bootstrap
        if credential is not None:
            bare, used = without_credentials(config), self.certificate
            cert, key = credential.client_cert, credential.client_key
            config = replace(bare, client_cert=cert, client_key=key)
        transport = RecordingTransport(HttpTransport(config))
        transport.used = used
        name = self.site.cluster
        client = AsyncClient(transport, cluster_name=name, prefix=f"/clusters/{name}")
        return ClientLogin(client, "east")

    def approve(self) -> None:
        def approved() -> Unstructured:
            found = self.requests.get(self.id)
            assert not found["status"].get("conditions")
            found["status"]["conditions"] = [{"type": "Approved", "status": "True"}]
            return self.requests.update(found, subresource="approval")

        before = self.keeper.rotations
        eventually(approved)
        eventually(lambda: self.keeper.rotations > before)


def test_a_token_that_asks_for_certificates_can_do_nothing_else(site: Site) -> None:
    with ExitStack() as stack:
        loop = stack.enter_context(IOLoop("kcpctl-keeper-io"))
        certified = Certified(site, loop, stack)
        certified.approve()
        certified.clock.step(3600)  # 80 % of its life: it renews itself
        certified.approve()
        renewed_by = certified.requests.get(certified.id)["spec"]["username"]
        assert renewed_by == f"system:syncer:{certified.uid}"
    name = f"{certified.id}-certificate"
    asking = granted([one for one in certified.objects if one["metadata"]["name"] == name])
    used = {one for one in certified.bootstrap | certified.certificate if one.group in CSR_GROUP}
    assert {one[:3] for one in certified.bootstrap} <= asking.keys()
    assert asking.keys() - {one[:3] for one in used} == set()
    assert all(one.name == certified.id for one in used if one.verb != "create")
    refused = Client(AsyncClient.plain(certified.config), site.plane.loop)
    with pytest.raises(Forbidden):
        refused.resource(SYNCTARGETS).get("east")
    with pytest.raises(Forbidden):
        refused.resource(CERTIFICATE_SIGNING_REQUESTS).list()
    refused.close()
