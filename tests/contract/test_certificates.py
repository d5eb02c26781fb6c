"""CertificateSigningRequests, from the request to a login, on every server that signs them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import (
    CERTIFICATE_SIGNING_REQUESTS,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
)
from kcpctl.client import AsyncClient, Client, ClientConfig, load_config
from kcpctl.client.config import Impersonation
from kcpctl.errors import Forbidden, Invalid, TransportError, Unauthorized
from kcpctl.runtime import IOLoop
from kcpctl.testing import ControlPlane, eventually
from kcpctl.testing.certificates import CertificateAuthority, signing_request
from kcpctl.testing.real import RealCluster, missing_binaries

RBAC = "rbac.authorization.k8s.io"


class Server:
    """A server that signs, with its admin's client."""

    def __init__(self, config: ClientConfig, loop: IOLoop) -> None:
        self.config = config
        self._loop = loop
        self.admin = self.client()
        self.requests = self.admin.resource(CERTIFICATE_SIGNING_REQUESTS)

    def client(self, **changes: Any) -> Client:
        fields = {name: getattr(self.config, name) for name in self.config.__slots__}
        return Client(AsyncClient.plain(ClientConfig(**{**fields, **changes})), self._loop)

    def judge(self, name: str, type_: str, **more: Any) -> Unstructured:
        found = self.requests.get(name)
        condition = {"type": type_, "status": "True", "reason": "Test", **more}
        found["status"]["conditions"] = [condition]
        return self.requests.update(found, subresource="approval")

    def issued(self, name: str) -> bytes:
        def certificate() -> str:
            text: str = self.requests.get(name)["status"].get("certificate", "")
            return text

        return base64.b64decode(eventually(certificate))


SERVERS = ["embedded", *([] if missing_binaries(full=True) else ["real"])]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    cluster = RealCluster(full=True) if request.param == "real" else ControlPlane(workspaces=False)
    with cluster, IOLoop("contract-io") as loop:
        made = Server(load_config(cluster.kubeconfig), loop)
        yield made
        made.admin.close()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"request": "aGVsbG8="}, "spec.request: Invalid value: .* must be CERTIFICATE REQUEST"),
        ({"usages": None}, "spec.usages: Required value"),
        ({"usages": ["x", "any", "any"]}, r"usages\[0\]: Unsupported.*usages\[2\]: Duplicate"),
        ({"signerName": None}, "spec.signerName: Required value"),
        ({"signerName": "jane"}, "of the form 'example.com/signer-name'"),
        ({"signerName": "A/b_"}, 'label "A": a lowercase.*at least two segments.*label "b_"'),
        ({"signerName": "kubernetes.io/legacy-unknown"}, "the legacy signerName is not allowed"),
        ({"expirationSeconds": 599}, "may not specify a duration less than 600 seconds"),
    ],
)
def test_a_request_that_nobody_could_sign_is_refused(
    server: Server, spec: dict[str, Any], message: str
) -> None:
    body, _ = signing_request("refused", "jane", **spec)
    with pytest.raises(Invalid, match=message):
        server.requests.create(body)


def test_nobody_gets_a_certificate_for_masters(server: Server) -> None:
    body, _ = signing_request("masters", "jane", "system:masters")
    with pytest.raises(Forbidden, match="signer with system:masters group is not allowed"):
        server.requests.create(body)


def test_a_request_says_who_made_it_and_stays_what_it_was(server: Server) -> None:
    body, _ = signing_request("mine", "jane", username="eve", groups=["x"], uid="y")
    made = server.requests.create(body)
    spec = made["spec"]
    assert (spec["username"], spec["groups"]) == (
        "admin",
        ["system:masters", "system:authenticated"],
    )
    assert "uid" not in spec
    assert made["status"] == {}
    spec_of_eve = {**spec, "username": "eve", "usages": ["any"]}
    status = {"conditions": [{"type": "Approved", "status": "True"}]}
    after = server.requests.update({**made, "spec": spec_of_eve, "status": status})
    assert (after["spec"], after["status"]) == (spec, {})


def test_a_verdict_is_given_once_and_by_approval_only(server: Server) -> None:
    server.requests.create(signing_request("denied", "jane")[0])
    found = server.requests.get("denied")
    found["status"]["conditions"] = [{"type": "Denied", "status": "True"}]
    with pytest.raises(Invalid, match='may not add a condition of type "Denied"'):
        server.requests.update_status(found)
    denied = server.judge("denied", "Denied")
    (verdict,) = denied["status"]["conditions"]
    assert {"lastUpdateTime", "lastTransitionTime"} <= verdict.keys()
    denied["status"]["conditions"] = []
    with pytest.raises(Invalid, match='may not remove a condition of type "Denied"'):
        server.requests.update(denied, subresource="approval")
    denied["status"]["conditions"] = [verdict, {"type": "Approved", "status": "True"}]
    with pytest.raises(Invalid, match="Approved and Denied conditions are mutually exclusive"):
        server.requests.update(denied, subresource="approval")
    with pytest.raises(Invalid, match='Unsupported value: "False": supported values: "True"'):
        server.judge("denied", "Denied", status="False")


def test_who_may_update_approvals_needs_the_signer_too(server: Server) -> None:
    rules = [
        {"verbs": ["get"], "resources": ["certificatesigningrequests"]},
        {"verbs": ["update"], "resources": ["certificatesigningrequests/approval"]},
    ]
    _grant(server, "approver", rules)
    server.requests.create(signing_request("judged", "jane")[0])
    approver = server.client(impersonate=Impersonation("approver"))
    requests = approver.resource(CERTIFICATE_SIGNING_REQUESTS)
    found = requests.get("judged")
    found["status"]["conditions"] = [{"type": "Approved", "status": "True"}]
    signer = "kubernetes.io/kube-apiserver-client"
    message = f'user not permitted to approve requests with signerName "{signer}"'
    with pytest.raises(Forbidden, match=message):
        requests.update(found, subresource="approval")
    signers = {"verbs": ["approve"], "resources": ["signers"], "resourceNames": [signer]}
    _grant(server, "approver", [*rules, signers])
    eventually(lambda: requests.update(found, subresource="approval"))
    approver.close()


def test_an_approved_request_becomes_a_certificate_that_logs_in(server: Server) -> None:
    body, key = signing_request("login", "jane", "readers", expirationSeconds=600)
    server.requests.create(body)
    server.judge("login", "Approved")
    pem = server.issued("login")
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.subject.rfc4514_string() == "CN=jane,O=readers"
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)
    reader = [{"verbs": ["list"], "resources": ["configmaps"], "apiGroups": [""]}]
    _grant(server, "readers", reader, kind="Group")
    jane = server.client(client_cert=pem, client_key=key)
    eventually(lambda: jane.resource(CONFIG_MAPS).list())
    with pytest.raises(Forbidden, match='User "jane" cannot list resource "clusterroles"'):
        jane.resource(CLUSTER_ROLES).list()
    jane.close()


def test_what_the_signer_cannot_do_fails(server: Server) -> None:
    server.requests.create(signing_request("usage", "jane", usages=["server auth"])[0])
    server.judge("usage", "Approved")

    def failure() -> str:
        conditions = server.requests.get("usage")["status"]["conditions"]
        return next((one["message"] for one in conditions if one["type"] == "Failed"), "")

    message = eventually(failure)
    assert message == "invalid usage for client certificate: server auth"


def test_a_certificate_of_somebody_else_does_not_log_in(server: Server) -> None:
    cert, key = CertificateAuthority().issue("jane", organizations=("system:masters",))
    stranger = server.client(client_cert=cert, client_key=key)
    with pytest.raises((Unauthorized, TransportError)):
        stranger.resource(CONFIG_MAPS).list()
    stranger.close()


def _grant(server: Server, name: str, rules: list[dict[str, Any]], kind: str = "User") -> None:
    role = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [{"apiGroups": ["certificates.k8s.io"], **rule} for rule in rules],
    }
    server.admin.resource(CLUSTER_ROLES).apply(role, field_manager="contract", force=True)
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": RBAC, "kind": kind, "name": name}],
    }
    server.admin.resource(CLUSTER_ROLE_BINDINGS).apply(
        binding, field_manager="contract", force=True
    )
