from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from multidict import CIMultiDict

from kcpctl.embedded.security.ca import CertificateAuthority
from kcpctl.embedded.status import StatusError
from kcpctl.embedded.user import ANONYMOUS, Attributes, UserInfo

World = Any
AUTHORITY = CertificateAuthority()


def certificate(user: str, *groups: str) -> bytes:
    pem = AUTHORITY.issue_client(user, groups).certificate_pem
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


MASTER = certificate("admin", "system:masters")


def ask(
    world: World,
    *,
    token: str | None = None,
    cert: bytes | None = None,
    headers: list[tuple[str, str]] | None = None,
    cluster: str | None = None,
    authorization: str | None = None,
) -> UserInfo:
    if token is not None:
        authorization = f"Bearer {token}"
    found: UserInfo = world.authenticator.authenticate(
        cert, authorization, CIMultiDict(headers or []), cluster
    )
    return found


@pytest.mark.parametrize("token", ["garbage", "a.b.c"])
def test_a_wrong_token_is_401(world: World, token: str) -> None:
    with pytest.raises(StatusError) as refused:
        ask(world, token=token)
    assert (refused.value.code, refused.value.message) == (401, "Unauthorized")


@pytest.mark.parametrize("authorization", [None, "", "Bearer ", "Basic YTpi", "Bearer"])
def test_without_a_token_one_is_anonymous(world: World, authorization: str | None) -> None:
    assert ask(world, authorization=authorization) == ANONYMOUS


def test_a_token_dies_with_its_service_account(world: World) -> None:
    token = world.token(world.account("bot"))
    ask(world, token=token)
    world.delete("", "serviceaccounts", "default", "bot")
    with pytest.raises(StatusError, match="Unauthorized"):
        ask(world, token=token)
    world.account("bot")  # another one of the same name
    with pytest.raises(StatusError, match="Unauthorized"):
        ask(world, token=token)


def test_a_token_dies_with_the_pod_it_is_bound_to(world: World) -> None:
    account = world.account("bot")
    spec = {"serviceAccountName": "bot", "containers": [{"name": "c", "image": "x"}]}
    world.create("", "pods", {"metadata": {"name": "p", "namespace": "default"}, "spec": spec})
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    token = world.token(account, {"boundObjectRef": reference})
    user = ask(world, token=token)
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    world.delete("", "pods", "default", "p")
    with pytest.raises(StatusError, match="Unauthorized"):
        ask(world, token=token)


def test_a_token_ends_with_its_time(world: World) -> None:
    token = world.token(world.account("bot"), {"expirationSeconds": 600})
    world.clock.step(620)
    with pytest.raises(StatusError, match="Unauthorized"):
        ask(world, token=token)


def test_a_token_names_its_service_account(world: World) -> None:
    account = world.account("bot")
    user = ask(world, token=world.token(account))
    assert user.username == "system:serviceaccount:default:bot"
    assert user.uid == account["metadata"]["uid"]
    assert user.groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    )
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")


def test_a_certificate_names_user_and_groups(world: World) -> None:
    user = ask(world, cert=certificate("jane", "dev"))
    assert (user.username, user.groups) == ("jane", ("dev", "system:authenticated"))


def test_a_certificate_without_a_name_is_401(world: World) -> None:
    with pytest.raises(StatusError, match="Unauthorized"):
        ask(world, cert=nameless())


def nameless() -> bytes:
    """Return a certificate whose subject has an organisation only."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "dev")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    return built.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


# -- logical clusters ---------------------------------------------------------------------


def test_elsewhere_a_service_account_is_a_foreigner(workspaces: World) -> None:
    home, away = workspaces.workspace("home"), workspaces.workspace("away")
    token = workspaces.token(workspaces.account("bot", cluster=home), cluster=home)
    assert ask(workspaces, token=token, cluster=home).username.endswith(":default:bot")
    assert ask(workspaces, token=token).username.endswith(":default:bot")
    foreigner = ask(workspaces, token=token, cluster=away)
    assert foreigner.username == "system:anonymous"
    assert foreigner.groups == ("system:authenticated", f"system:cluster:{home}")
    assert ask(workspaces, token=token, cluster="*").username == "system:anonymous"


def test_a_foreigner_may_be_given_rights_by_its_full_name(workspaces: World) -> None:
    home, away = workspaces.workspace("home"), workspaces.workspace("away")
    token = workspaces.token(workspaces.account("bot", cluster=home), cluster=home)
    wanted = Attributes("get", resource="pods", cluster=away)
    foreigner = ask(workspaces, token=token, cluster=away)
    assert not workspaces.authorizer.authorize(foreigner, wanted).allowed
    name = f"system:kcp:serviceaccount:{home}:default:bot"
    workspaces.bind("b", "view", {"kind": "User", "name": name}, cluster=away)
    assert workspaces.authorizer.authorize(foreigner, wanted).allowed


def test_a_token_dies_with_its_logical_cluster(workspaces: World) -> None:
    home = workspaces.workspace("home")
    token = workspaces.token(workspaces.account("bot", cluster=home), cluster=home)
    assert workspaces.authenticator.token_cluster(f"Bearer {token}") == home
    info = workspaces.registry.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    workspaces.registry.delete(info, "root", "", "home")
    with pytest.raises(StatusError, match="Unauthorized"):
        ask(workspaces, token=token, cluster=home)


def test_a_token_names_a_cluster_even_when_it_is_wrong(world: World) -> None:
    assert world.authenticator.token_cluster(None) is None
    assert world.authenticator.token_cluster("Bearer garbage") is None


# -- impersonation ------------------------------------------------------------------------


def test_a_group_without_a_user_is_400(world: World) -> None:
    with pytest.raises(StatusError) as refused:
        ask(world, cert=MASTER, headers=[("Impersonate-Group", "x")])
    assert refused.value.code == 400
    assert refused.value.message == (
        'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"x"}, '
        "Extra:map[string][]string(nil)} without impersonating a user name"
    )


def test_impersonation_needs_the_right(world: World) -> None:
    with pytest.raises(StatusError) as refused:
        ask(world, cert=certificate("jane"), headers=[("Impersonate-User", "root")])
    assert refused.value.code == 403
    assert refused.value.message == (
        'users "root" is forbidden: User "jane" cannot impersonate resource "users" in API group '
        '"" at the cluster scope'
    )


def test_every_group_needs_the_right(world: World) -> None:
    users = {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}
    groups = {"apiGroups": [""], "resources": ["groups"], "verbs": ["impersonate"]}
    world.role("imp", users, {**groups, "resourceNames": ["dev"]})
    world.bind("imp", "imp", {"kind": "User", "name": "jane"})
    jane = certificate("jane")
    as_bob = [("Impersonate-User", "bob"), ("Impersonate-Group", "dev")]
    assert ask(world, cert=jane, headers=as_bob).groups == ("dev", "system:authenticated")
    with pytest.raises(StatusError, match='groups "system:masters" is forbidden'):
        ask(world, cert=jane, headers=[*as_bob, ("Impersonate-Group", "system:masters")])
    with pytest.raises(StatusError, match='cannot impersonate resource "userextras/scopes"'):
        ask(world, cert=jane, headers=[*as_bob, ("Impersonate-Extra-Scopes", "x")])
    with pytest.raises(StatusError, match='cannot impersonate resource "uids"'):
        ask(world, cert=jane, headers=[*as_bob, ("Impersonate-Uid", "5")])


def test_whoever_may_can_be_anybody(world: World) -> None:
    headers = [
        ("Impersonate-User", "bob"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Uid", "5"),
        ("Impersonate-Extra-Example.com%2fscopes", "x"),
        ("Impersonate-Extra-Example.com%2fscopes", "y"),
    ]
    user = ask(world, cert=MASTER, headers=headers)
    assert user == UserInfo(
        "bob", "5", ("a", "b", "system:authenticated"), {"example.com/scopes": ("x", "y")}
    )


def test_an_impersonated_service_account_has_its_groups(world: World) -> None:
    name = "system:serviceaccount:default:bot"
    user = ask(world, cert=MASTER, headers=[("Impersonate-User", name)])
    assert user.groups[:2] == ("system:serviceaccounts", "system:serviceaccounts:default")
    anonymous = ask(world, cert=MASTER, headers=[("Impersonate-User", "system:anonymous")])
    assert anonymous == ANONYMOUS
