"""Clusters whose servers answer, but not what was asked for."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.runtime import IOLoop
from kcpctl.testing import eventually
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
        site.await_condition("ClusterConnected", "True", seconds=5)
        found = site.await_condition("SyncerDeployed", *condition, seconds=5)
        assert says in found["message"]
        assert "s3cr3t" not in str(site.get())
