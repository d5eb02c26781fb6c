from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kcpctl.embedded.pipeline import WriteOptions
from kcpctl.embedded.schema.csr_validation import parse_request
from kcpctl.embedded.security.admission import Admission
from kcpctl.embedded.security.ca import CertificateAuthority
from kcpctl.embedded.status import StatusError
from kcpctl.embedded.user import ANONYMOUS, UserInfo
from kcpctl.testing.certificates import signing_request

World = Any
Json = dict[str, Any]
JANE = UserInfo("jane", "u1", ("dev", "system:authenticated"), {"k": ("v",)})
SIGNER = "kubernetes.io/kube-apiserver-client"
GROUP = "certificates.k8s.io"


class Requests:
    """Signing requests as a user writes them."""

    def __init__(self, world: World, user: UserInfo) -> None:
        self._world = world
        self._user = user
        self._admission = Admission(world.registry, world.authorizer)
        self._info = world.registry.info("root", GROUP, "v1", "certificatesigningrequests")

    def _options(self) -> WriteOptions:
        def admission(obj: Json, subresource: str) -> None:
            self._admission(self._user, self._info, "root", "", obj, subresource)

        return WriteOptions(admission=admission)

    def create(self, *groups: str, **spec: Any) -> Json:
        body, _ = signing_request("r", "jane", *groups, **spec)
        made: Json = self._world.registry.writer.create(
            self._info, "root", "", body, self._options()
        )
        return made

    def write(self, subresource: str, **status: Any) -> Json:
        found = self._world.registry.get(self._info, "root", "", "r")
        changed = {**found, "metadata": dict(found["metadata"]), "status": status}
        written: Json = self._world.registry.writer.update(
            self._info, "root", "", "r", changed, self._options(), subresource=subresource
        )[0]
        return written


@pytest.fixture
def requests(world: World) -> Requests:
    return Requests(world, JANE)


def allow(world: World, verb: str, name: str) -> None:
    rule = {
        "verbs": [verb],
        "apiGroups": [GROUP],
        "resources": ["signers"],
        "resourceNames": [name],
    }
    world.role("signing", rule)
    world.bind("signing", "signing", {"kind": "User", "name": "jane"})


def test_masters_are_refused_for_the_signer_of_logins_only(requests: Requests) -> None:
    with pytest.raises(StatusError, match="system:masters group is not allowed") as refused:
        requests.create("system:masters")
    assert refused.value.code == 403
    requests.create("system:masters", signerName="example.com/x")


def test_a_request_carries_its_requester_and_nothing_invented(requests: Requests) -> None:
    spec = requests.create(username="eve", extra={"scopes": ["all"]})["spec"]
    assert (spec["username"], spec["uid"]) == ("jane", "u1")
    assert (spec["groups"], spec["extra"]) == (["dev", "system:authenticated"], {"k": ["v"]})


@pytest.mark.parametrize(
    ("subresource", "verb", "status"),
    [
        ("approval", "approve", {"conditions": [{"type": "Approved", "status": "True"}]}),
        ("status", "sign", {"conditions": [{"type": "Failed", "status": "True"}]}),
    ],
)
@pytest.mark.parametrize("name", [SIGNER, "kubernetes.io/*"])
def test_verdicts_and_signatures_need_the_signer(
    world: World, requests: Requests, subresource: str, verb: str, status: Json, name: str
) -> None:
    requests.create()
    with pytest.raises(StatusError, match=f"not permitted to {verb} requests") as refused:
        requests.write(subresource, **status)
    assert refused.value.code == 403
    allow(world, verb, name)
    written = requests.write(subresource, **status)
    assert written["status"]["conditions"][0]["type"] == status["conditions"][0]["type"]


def test_a_status_that_says_nothing_new_needs_no_signer(requests: Requests) -> None:
    requests.create()
    requests.write("status")


def identity(world: World, request: Json, seconds: float, cluster: str | None) -> bytes:
    authority = CertificateAuthority(clock=world.clock)
    parsed = parse_request(request["spec"]["request"])
    pem = authority.sign_client(parsed, ["client auth"], seconds, cluster=cluster)
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def test_a_certificate_of_one_workspace_is_nobody_in_another(workspaces: World) -> None:
    home, other = workspaces.workspace("home"), workspaces.workspace("other")
    request, _ = signing_request("r", "root-of-all", "admins", "system:cluster:other")
    der = identity(workspaces, request, 600, home)

    def user(cluster: str | None) -> UserInfo:
        found: UserInfo = workspaces.authenticator.authenticate(der, None, {}, cluster)
        return found

    assert user(home).username == "root-of-all"
    for elsewhere in (other, "root", "*", None):
        found = user(elsewhere)
        assert found.username == ANONYMOUS.username
        assert found.groups == ("system:authenticated", f"system:cluster:{home}")


def test_a_certificate_ends_on_an_open_connection_too(world: World) -> None:
    der = identity(world, signing_request("r", "jane")[0], 600, None)
    assert world.authenticator.authenticate(der, None, {}, None).username == "jane"
    world.clock.step(601)
    with pytest.raises(StatusError, match="Unauthorized"):
        world.authenticator.authenticate(der, None, {}, None)
