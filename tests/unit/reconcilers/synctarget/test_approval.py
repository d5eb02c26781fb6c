"""Which certificates of syncers are approved by themselves, and what becomes of the others."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import syncer_id
from kcpctl.apis.resource import CERTIFICATE_SIGNING_REQUESTS, CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES
from kcpctl.errors import Forbidden, ServiceUnavailable
from kcpctl.reconcilers.synctarget.approval import not_ours
from kcpctl.syncer.certificate import PrivateKey, request_object
from kcpctl.testing.certificates import signing_request
from tests.unit.reconcilers.conftest import World

UID = "0b2f7e0e-0000-4000-8000-000000000001"
NAMESPACE = "kcpctl-system"
CSR = CERTIFICATE_SIGNING_REQUESTS


def asked(target: str = UID, **spec: Any) -> Unstructured:
    """A request as the syncer makes it; ``spec`` replaces fields."""
    made = request_object(PrivateKey(), "east", target, 86_400)
    account = f"system:serviceaccount:{NAMESPACE}:{syncer_id('east', target)}"
    made["spec"] |= {"username": account, **spec}
    return made


def subject(common_name: str, *groups: str) -> str:
    request: str = signing_request("x", common_name, *groups)[0]["spec"]["request"]
    return request


RENEWAL: dict[str, Any] = {"username": f"system:syncer:{UID}", "groups": ["system:syncers"]}


def test_what_the_syncer_asks_for_is_approved() -> None:
    assert not_ours(asked(), UID, NAMESPACE) == ""
    assert not_ours(asked(**RENEWAL), UID, NAMESPACE) == ""


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"username": "jane"}, "'jane' has made it"),
        ({"username": "system:syncer:other", "groups": ["system:syncers"]}, "has made it"),
        ({**RENEWAL, "groups": []}, "has made it"),
        ({"username": f"system:serviceaccount:default:{syncer_id('east', UID)}"}, "has made it"),
        ({"signerName": "kubernetes.io/kubelet-serving"}, "for the signer"),
        ({"usages": ["client auth"]}, "asks for the usages client auth"),
        ({"usages": ["client auth", "digital signature", "server auth"]}, "asks for the usages"),
        ({"expirationSeconds": None}, "asks for any life"),
        ({"expirationSeconds": 8 * 86_400}, "asks for 691200s of life"),
        ({"request": subject("admin", "system:syncers")}, "asks to be 'CN=admin"),
        ({"request": subject(f"system:syncer:{UID}", "system:masters")}, "asks to be"),
        ({"request": subject(f"system:syncer:{UID}", "system:syncers", "x")}, "asks to be"),
        ({"request": subject(f"system:syncer:{UID}")}, "asks to be"),
        ({"request": base64.b64encode(b"garbage").decode()}, "cannot be read"),
    ],
)
def test_everything_else_is_left_alone(spec: dict[str, Any], why: str) -> None:
    assert why in not_ours(asked(**spec), UID, NAMESPACE)


def test_the_syncer_of_another_sync_target_gets_nothing() -> None:
    assert "asks to be" in not_ours(asked("another-uid"), UID, NAMESPACE)


class Requests:
    """The signing request of one world's SyncTarget."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.options = replace(world.options, syncer_auth="certificate")
        world.reconciler = world.new_reconciler()

    @property
    def name(self) -> str:
        meta = self.world.target().metadata
        return syncer_id(meta.name, meta.uid)

    @property
    def _path(self) -> str:
        return CSR.path(name=self.name)

    def deploy(self) -> None:
        world = self.world
        world.add_secret()
        world.add_target()
        for _ in range(2):
            world.reconcile()
        world.connect()
        world.reconcile()
        world.take()

    def ask(self, **spec: Any) -> None:
        """As the syncer does, by the token of its service account."""
        uid = self.world.target().metadata.uid
        account = self.world.up.objects[
            f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{self.name}"
        ]
        made = asked(uid, **{"uid": account["metadata"]["uid"], **spec})
        self.world.up.put(self._path, made)

    def answer(self, type_: str = "", **status: Any) -> None:
        found = self.world.up.objects[self._path]
        conditions = list(found.get("status", {}).get("conditions", ()))
        if type_:
            conditions.append({"type": type_, "status": "True", "message": "because"})
        self.world.up.put(self._path, {**found, "status": {"conditions": conditions, **status}})

    def approvals(self) -> int:
        calls = [one for one in self.world.up.writes() if one.endswith("/approval")]
        return len(calls)

    def is_approved(self) -> bool:
        found = self.world.up.objects[self._path].get("status", {})
        return [one["type"] for one in found.get("conditions", ())] == ["Approved"]

    def condition(self) -> str:
        return self.world.condition("SyncerCertificate")


@pytest.fixture
def requests(world: World) -> Requests:
    made = Requests(world)
    made.deploy()
    return made


def test_a_request_is_approved_once_and_its_certificate_told(requests: Requests) -> None:
    world = requests.world
    assert requests.condition() == "Unknown NotRequested"
    requests.ask()
    world.reconcile()
    assert requests.is_approved()
    assert requests.approvals() == 1
    assert requests.condition() == "Unknown WaitingForSigner"
    world.reconcile()
    requests.answer(certificate="eA==")
    world.reconcile()
    assert requests.condition() == "True Issued"
    world.take()
    assert world.reconcile() is not None
    assert world.up.calls == []


def test_a_renewal_changes_no_condition(requests: Requests) -> None:
    world = requests.world
    requests.ask()
    world.reconcile()
    requests.answer(certificate="eA==")
    world.reconcile()
    uid = world.target().metadata.uid
    requests.ask(username=f"system:syncer:{uid}", groups=["system:syncers"], uid="")
    world.up.objects[CSR.path(name=requests.name)]["metadata"]["uid"] = "renewal"
    world.take()
    world.reconcile()
    assert requests.is_approved()
    assert world.up.writes() == [f"PUT {CSR.path(name=requests.name)}/approval"]
    assert requests.condition() == "True Issued"


def test_where_the_controllers_may_not_the_condition_says_who_must(requests: Requests) -> None:
    world = requests.world
    world.up.errors["/approval"] = Forbidden("user not permitted to approve")
    requests.ask()
    assert world.reconcile() == pytest.approx(60)
    assert requests.condition() == "False ApprovalRequired"
    message = world.message("SyncerCertificate")
    assert f"kubectl certificate approve {requests.name}" in message
    assert "may not approve it: user not permitted" in message
    assert world.condition("SyncerDeployed") == "False WaitingForCertificate"
    assert world.condition("Ready") == "False WaitingForCertificate"
    assert [line for line in world.recorder.lines if "ApprovalRequired" in line]
    world.take()
    world.reconcile()
    assert requests.approvals() == 0  # a second pass asks nobody
    del world.up.errors["/approval"]
    world.clock.step(61)
    world.reconcile()
    assert requests.is_approved()


def test_a_request_of_somebody_else_is_for_people_to_judge(requests: Requests) -> None:
    requests.ask(username="jane")
    requests.world.reconcile()
    assert requests.approvals() == 0
    assert "'jane' has made it, and not the syncer" in requests.world.message("SyncerCertificate")


def test_a_service_account_made_again_by_others_is_not_the_syncer(requests: Requests) -> None:
    requests.ask(uid="another")
    requests.world.reconcile()
    assert requests.approvals() == 0
    assert "another one than the one that asks" in requests.world.message("SyncerCertificate")


def test_a_syncer_whose_identity_was_removed_gets_nothing(requests: Requests) -> None:
    requests.ask()
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{requests.name}"
    unmarked = requests.world.up.objects[account]
    for change, why in (
        ({"labels": {}}, "was not made for this SyncTarget"),
        (None, "there is no"),
    ):
        if change is None:
            del requests.world.up.objects[account]
        else:
            requests.world.up.put(
                account, {**unmarked, "metadata": {**unmarked["metadata"], **change}}
            )
        requests.world.reconcile()
        assert requests.approvals() == 0
        assert why in requests.world.message("SyncerCertificate")


@pytest.mark.parametrize(
    ("verdict", "reason"), [("Denied", "CertificateDenied"), ("Failed", "CertificateFailed")]
)
def test_what_others_decide_is_told(requests: Requests, verdict: str, reason: str) -> None:
    requests.ask()
    requests.answer(verdict)
    requests.world.reconcile()
    assert requests.condition() == f"False {reason}"
    assert "because" in requests.world.message("SyncerCertificate")
    assert requests.approvals() == 0


def test_what_nobody_signs_is_told_after_a_minute(requests: Requests) -> None:
    world = requests.world
    requests.ask()
    assert world.reconcile() == pytest.approx(60)
    world.clock.step(60)
    world.reconcile()
    assert requests.condition() == "False CertificateNotSigned"
    assert "needs --syncer-auth token" in world.message("SyncerCertificate")


def test_another_version_than_the_one_that_was_judged_is_not_approved(requests: Requests) -> None:
    """Whoever replaces the request between the look and the approval gains nothing."""
    world = requests.world
    requests.ask()
    path = CSR.path(name=requests.name)
    answer = world.up._answer

    def meanwhile(call: Any, where: str, body: Any) -> Unstructured:
        if where.endswith(f"/serviceaccounts/{requests.name}"):
            del world.up.objects[path]
            requests.ask(request=subject("admin", "system:syncers"))
        return answer(call, where, body)

    world.up._answer = meanwhile  # type: ignore[method-assign, assignment]
    world.reconcile()
    assert not requests.is_approved()
    world.up._answer = answer  # type: ignore[method-assign]
    world.reconcile()
    assert "asks to be 'CN=admin" in world.message("SyncerCertificate")


def test_a_server_that_is_away_leaves_the_condition(requests: Requests) -> None:
    world = requests.world
    requests.ask()
    world.reconcile()
    requests.answer(certificate="eA==")
    world.reconcile()
    requests.ask()
    world.up.objects[CSR.path(name=requests.name)]["metadata"]["uid"] = "next"
    world.up.errors["/serviceaccounts/"] = ServiceUnavailable("away")
    with pytest.raises(ServiceUnavailable):
        world.reconcile()
    assert requests.condition() == "True Issued"


def bindings(world: World) -> dict[str, list[str]]:
    """Who has which role upstream."""
    return {
        path.rpartition("/")[2]: [f"{one['kind']} {one['name']}" for one in obj["subjects"]]
        for path, obj in world.up.objects.items()
        if f"/{CLUSTER_ROLE_BINDINGS.plural}/" in path
    }


def test_the_token_may_ask_and_the_certificate_works(requests: Requests) -> None:
    name, uid = requests.name, requests.world.target().metadata.uid
    user = f"User system:syncer:{uid}"
    assert bindings(requests.world) == {
        name: [user],
        f"{name}-certificate": [f"ServiceAccount {name}", user],
    }
    role = requests.world.up.objects[CLUSTER_ROLES.path(name=f"{name}-certificate")]
    assert {group for rule in role["rules"] for group in rule["apiGroups"]} == {CSR.group}
    (deployment,) = [o for p, o in requests.world.down.objects.items() if "/deployments/" in p]
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--from-auth=certificate" in arguments


def test_its_token_is_short_lived_and_renewed(requests: Requests) -> None:
    world = requests.world
    asked_for = [
        body["spec"]["expirationSeconds"] for line, body in world.up.bodies if "/token" in line
    ]
    assert asked_for in ([], [3600])
    world.roll_out()
    world.beat()
    world.reconcile()
    world.take()
    world.clock.step(0.8 * 3600)
    world.beat()
    world.reconcile()
    tokens = [body for line, body in world.up.bodies if line.endswith("/token")]
    assert [one["spec"]["expirationSeconds"] for one in tokens] == [3600]


def switch(world: World, auth: str) -> None:
    world.options = replace(world.options, syncer_auth=auth)
    world.reconciler = world.new_reconciler()
    world.reconcile()


@pytest.mark.parametrize("auth", ["token", "external"])
def test_another_way_to_log_in_leaves_nothing_of_certificates(
    requests: Requests, auth: str
) -> None:
    world, name = requests.world, requests.name
    requests.ask()
    world.reconcile()
    switch(world, auth)
    assert bindings(world) == {name: [f"ServiceAccount {name}"]}
    assert world.up.names("clusterroles") == [name]
    assert world.up.names("certificatesigningrequests") == []
    assert requests.condition() == ""
    switch(world, "certificate")
    assert bindings(world).keys() == {name, f"{name}-certificate"}


@pytest.mark.parametrize("number", range(16))
def test_a_switch_that_is_cut_off_anywhere_is_done_again(requests: Requests, number: int) -> None:
    world, name = requests.world, requests.name
    requests.ask()
    world.reconcile()
    world.options = replace(world.options, syncer_auth="token")
    world.reconciler = world.new_reconciler()
    world.cut_off_call(number)
    for _ in range(4):
        try:
            world.reconcile()
        except ServiceUnavailable:
            world.reconciler = world.new_reconciler()
    assert bindings(world) == {name: [f"ServiceAccount {name}"]}
    assert world.up.names("certificatesigningrequests") == []


def test_deletion_takes_all_of_it_and_nothing_of_others(requests: Requests) -> None:
    world = requests.world
    requests.ask()
    other = CSR.path(name="other")
    world.up.put(other, asked("other-uid"))
    world.delete_target()
    for _ in range(6):
        world.reconcile()
    assert world.up.names("clusterroles") == []
    assert world.up.names("clusterrolebindings") == []
    assert world.up.names("certificatesigningrequests") == ["other"]


def test_a_syncer_that_somebody_else_runs_gets_its_certificate_too(world: World) -> None:
    requests = Requests(world)
    world.add_target(kcpCluster="root", deployment={"mode": "External"})
    for _ in range(2):
        world.reconcile()
    assert requests.condition() == ""  # who knows how it logs in
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{requests.name}"
    labels = {"workload.kcp.io/synctarget-uid": world.target().metadata.uid}
    world.up.put(account, {"metadata": {"name": requests.name, "labels": labels}})
    requests.ask()
    world.reconcile()
    assert requests.is_approved()


@pytest.mark.parametrize("number", range(20))
def test_a_deletion_that_is_cut_off_anywhere_is_done_again(requests: Requests, number: int) -> None:
    world = requests.world
    requests.ask()
    world.reconcile()
    world.delete_target()
    world.cut_off_call(number)
    for _ in range(8):
        try:
            world.reconcile()
        except ServiceUnavailable:
            world.reconciler = world.new_reconciler()
    assert not world.exists()
    for plural in ("clusterroles", "clusterrolebindings", "certificatesigningrequests"):
        assert world.up.names(plural) == []
