"""Clusters whose servers answer, but not what was asked for."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.resource import NAMESPACES
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.runtime import IOLoop
from kcpctl.testing import ControlPlane, eventually
from kcpctl.testing.certificates import CertificateAuthority
from kcpctl.testing.scripted import Received, Reply, ScriptedServer, status_body

if TYPE_CHECKING:
    from tests.integration.conftest import Site

HEALTH = {
    "/readyz": Reply(b"ok"),
    "/version": Reply({"major": "1", "minor": "36", "gitVersion": "v1.36.0"}),
}
NOTHING = Reply(status_body(404, "NotFound", "not found"), status=404)
GARBAGE = Reply(b"<html>It works!</html>")


class Cluster(ScriptedServer):
    """Is healthy, has nothing, and answers each write the same."""

    def __init__(self, tls: ssl.SSLContext, reply: Reply) -> None:
        super().__init__(tls=tls)
        self.reply = reply

    def _answer(self, request: Received) -> Reply:
        if (health := HEALTH.get(request.path)) is not None:
            return health
        return NOTHING if request.method == "GET" else self.reply

    @property
    def writes(self) -> int:
        return sum(one.method != "GET" for one in self.received)


@contextmanager
def running(reply: Reply, ca: CertificateAuthority) -> Iterator[Cluster]:
    with IOLoop("test-cluster") as loop:
        made = Cluster(ca.server_context(), reply)
        loop.run(made.start())
        try:
            yield made
        finally:
            loop.run(made.stop())


def kubeconfig(server: ScriptedServer, ca: CertificateAuthority) -> dict[str, Any]:
    from base64 import b64encode

    cluster = {"server": server.url, "certificate-authority-data": b64encode(ca.pem).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "s3cr3t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def refusal(code: int, reason: str, message: str) -> Reply:
    return Reply(status_body(code, reason, message), status=code)


FAILED = ("False", "DeploymentFailed")
DELAYED = ("Unknown", "DeploymentDelayed")


@pytest.mark.parametrize(
    ("reply", "condition", "says"),
    [
        (refusal(403, "Forbidden", "that is forbidden"), FAILED, "that is forbidden"),
        (refusal(500, "InternalError", "no leader"), FAILED, "no leader"),
        (refusal(429, "TooManyRequests", "slow down"), DELAYED, "slow down"),
        (refusal(503, "ServiceUnavailable", "stopping"), DELAYED, "stopping"),
        (GARBAGE, DELAYED, "It works"),
    ],
    ids=["403", "500", "429", "503", "garbage"],
)
def test_a_cluster_that_refuses_writes_is_told_of(
    site: Site, reply: Reply, condition: tuple[str, str], says: str
) -> None:
    ca = CertificateAuthority()
    with running(reply, ca) as cluster:
        site.secret("east-kubeconfig", kubeconfig(cluster, ca))
        site.target()
        site.controllers()
        eventually(lambda: cluster.writes >= 2)
        site.await_condition("ClusterConnected", "True")
        found = site.await_condition("SyncerDeployed", *condition)
        assert says in found["message"]
        assert "s3cr3t" not in str(site.get())


def restart(cluster: Cluster, loop: IOLoop, ca: CertificateAuthority) -> None:
    """End all connections, and go on with certificates of that CA."""
    loop.run(cluster.stop())
    cluster._tls = ca.server_context()
    loop.run(cluster.start())


def test_a_cluster_whose_ca_changes_is_told_of_and_back_with_the_next_kubeconfig(
    site: Site,
) -> None:
    old, new = CertificateAuthority("old"), CertificateAuthority("new")
    with IOLoop("test-cluster") as loop:
        cluster = Cluster(old.server_context(), refusal(403, "Forbidden", "no"))
        loop.run(cluster.start())
        site.secret("east-kubeconfig", kubeconfig(cluster, old))
        site.target()
        site.controllers()
        site.await_condition("ClusterConnected", "True")
        restart(cluster, loop, new)
        site.await_condition("ClusterConnected", "False", "CertificateInvalid")
        site.secret("east-kubeconfig", kubeconfig(cluster, new))
        site.await_condition("ClusterConnected", "True")
        loop.run(cluster.stop())


def test_a_slow_handshake_holds_up_nobody_else(site: Site, plain_cluster: ControlPlane) -> None:
    proxy = site.proxy(plain_cluster)
    proxy.delay(0.15)  # each flight of the handshake and each answer
    site.connect(plain_cluster, proxy=proxy)
    site.connect(plain_cluster, "west")
    site.controllers()
    site.await_condition("ClusterConnected", "True", name="west")
    # The handshake and the probe take longer than the probe may.
    proxy.delay(0.6)
    site.await_condition("ClusterConnected", "False", "ConnectionFailed")
    site.upstream.resource(SYNCTARGETS).patch("west", {"spec": {"capacity": {"cpu": "8"}}})
    eventually(lambda: site.get("west")["status"]["capacity"] == {"cpu": "8"})
    proxy.delay(0)
    site.await_condition("ClusterConnected", "True")


def test_a_secret_that_is_rotated_many_times_in_a_second_costs_no_request(
    site: Site, plain_cluster: ControlPlane
) -> None:
    good = site.kubeconfig(plain_cluster)
    bad = deepcopy(good)
    bad["users"][0]["user"] = {"token": "expired"}
    site.connect(plain_cluster)
    controllers = site.controllers()
    before = site.await_condition("ClusterConnected", "True")
    for _ in range(5):
        site.secret("east-kubeconfig", bad)
        site.secret("east-kubeconfig", good)
    key = f"{site.cluster}|east"
    # No request in between fails: the credentials that serve do so until better ones do.
    for _ in range(20):
        assert controllers.pool.client(key).resource(NAMESPACES).list().items
    eventually(lambda: site.condition("ClusterConnected") == before)
