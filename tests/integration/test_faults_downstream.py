"""What happens to a SyncTarget when its cluster, or the way to it, is broken."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.naming import SYNCTARGET_UID_LABEL
from kcpctl.apis.resource import EVENTS, NAMESPACES, SECRETS, SERVICE_ACCOUNTS
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.errors import NotFound
from kcpctl.testing import ControlPlane, eventually

if TYPE_CHECKING:
    from tests.integration.conftest import Controllers, Site

CONNECTED = "ClusterConnected"
EXTERNAL = {"kcpCluster": "root", "deployment": {"mode": "External"}}


def names_the_secret(message: str, site: Site) -> None:
    """Every failure says what (key and Secret), where (logical cluster)."""
    assert 'key "kubeconfig" of Secret kcpctl-system/east-kubeconfig' in message
    assert repr(site.cluster) in message


def break_ca(config: dict[str, Any], other: dict[str, Any]) -> None:
    theirs = other["clusters"][0]["cluster"]["certificate-authority-data"]
    config["clusters"][0]["cluster"]["certificate-authority-data"] = theirs


def break_token(config: dict[str, Any], other: dict[str, Any]) -> None:
    config["users"][0]["user"] = {"token": "s3cr3t"}


def break_address(config: dict[str, Any], other: dict[str, Any]) -> None:
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"


def break_user(config: dict[str, Any], other: dict[str, Any]) -> None:
    config["contexts"][0]["context"]["user"] = "nobody"


@pytest.mark.parametrize(
    ("breaks", "reason", "says"),
    [
        (break_ca, "CertificateInvalid", "certificate"),
        (break_token, "Unauthorized", "Unauthorized"),
        (break_address, "ConnectionFailed", "connection refused"),
        (break_user, "InvalidConfiguration", "nobody"),
    ],
)
def test_a_kubeconfig_that_does_not_work_is_explained_and_mended_in_place(
    site: Site, plain_cluster: ControlPlane, breaks: Any, reason: str, says: str
) -> None:
    good = site.kubeconfig(plain_cluster)
    bad = deepcopy(good)
    breaks(bad, site.kubeconfig(site.plane))
    site.secret("east-kubeconfig", bad)
    site.target()
    site.controllers()
    message = site.await_condition(CONNECTED, "False", reason)["message"]
    assert says in message
    assert "s3cr3t" not in message
    names_the_secret(message, site)
    site.secret("east-kubeconfig", good)
    site.await_condition(CONNECTED, "True", "Connected")


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (None, "CredentialsMissing", 'has no key "kubeconfig"; put a kubeconfig there'),
        ("", "CredentialsMissing", "is empty; put a kubeconfig there"),
        ("{nonsense", "InvalidConfiguration", "correct the kubeconfig there"),
        ("- a\n- list\n", "InvalidConfiguration", "correct the kubeconfig there"),
    ],
)
def test_a_secret_without_a_kubeconfig_is_explained_and_mended_in_place(
    site: Site, plain_cluster: ControlPlane, content: str | None, reason: str, says: str
) -> None:
    site.secret("east-kubeconfig", content)
    site.target()
    site.controllers()
    message = site.await_condition(CONNECTED, "False", reason)["message"]
    assert says in message
    assert "Secret kcpctl-system/east-kubeconfig" in message
    assert repr(site.cluster) in message
    site.secret("east-kubeconfig", site.kubeconfig(plain_cluster))
    site.await_condition(CONNECTED, "True", "Connected")


@pytest.mark.parametrize("breaks", [break_token, break_user])
def test_a_rotation_that_fails_takes_nothing_away_and_is_told_once(
    site: Site, plain_cluster: ControlPlane, breaks: Any
) -> None:
    good = site.kubeconfig(plain_cluster)
    site.secret("east-kubeconfig", good)
    site.target()
    controllers = site.controllers()
    site.await_condition(CONNECTED, "True", "Connected")
    bad = deepcopy(good)
    breaks(bad, good)
    site.secret("east-kubeconfig", bad)
    found = site.await_condition(CONNECTED, "True", "NewCredentialsFailed")
    names_the_secret(found["message"], site)
    assert "s3cr3t" not in found["message"]
    assert controllers.pool.client(f"{site.cluster}|east").server_version()
    events = site.upstream.resource(EVENTS)
    eventually(lambda: [e for e in events.list() if e["reason"] == "NewCredentialsFailed"])
    site.secret("east-kubeconfig", good)
    site.await_condition(CONNECTED, "True", "Connected")
    (event,) = (one for one in events.list() if one["reason"] == "NewCredentialsFailed")
    assert "series" not in event


def test_a_missing_secret_is_explained_and_noticed_when_it_comes_and_goes(
    site: Site, plain_cluster: ControlPlane
) -> None:
    site.target()
    site.controllers()
    missing = site.await_condition(CONNECTED, "False", "CredentialsMissing")
    assert "kubectl -n kcpctl-system create secret generic east-kubeconfig" in missing["message"]
    assert repr(site.cluster) in missing["message"]
    site.secret("east-kubeconfig", site.kubeconfig(plain_cluster))
    site.await_condition(CONNECTED, "True")
    site.upstream.resource(SECRETS).delete("east-kubeconfig", namespace="kcpctl-system")
    site.await_condition(CONNECTED, "False", "CredentialsMissing")


@pytest.mark.parametrize("fault", ["hang", "refuse"])
def test_a_cluster_that_fails_is_noticed_by_its_probes_and_so_is_its_return(
    site: Site, plain_cluster: ControlPlane, fault: str
) -> None:
    proxy = site.proxy(plain_cluster)
    site.connect(plain_cluster, proxy=proxy)
    site.connect(plain_cluster, "west")
    controllers = site.controllers()
    for name in ("east", "west"):
        site.await_condition(CONNECTED, "True", name=name)
    before = site.condition(CONNECTED, "west")
    getattr(proxy, fault)()
    found = site.await_condition(CONNECTED, "False", "ConnectionFailed")
    names_the_secret(found["message"], site)
    assert site.condition("Ready")["status"] == "False"
    # The other cluster is served meanwhile, without a delay.
    site.upstream.resource(SYNCTARGETS).patch("west", {"spec": {"capacity": {"cpu": "8"}}})
    eventually(lambda: site.get("west")["status"]["capacity"] == {"cpu": "8"})
    assert controllers.pool.client(f"{site.cluster}|west").server == plain_cluster.config.server
    proxy.resume() if fault == "hang" else proxy.accept()
    site.await_condition(CONNECTED, "True")
    after = site.condition(CONNECTED, "west")
    assert after["lastTransitionTime"] == before["lastTransitionTime"]


def test_a_cluster_that_never_answered_is_told_of_too(
    site: Site, plain_cluster: ControlPlane
) -> None:
    proxy = site.proxy(plain_cluster)
    proxy.hang()
    site.connect(plain_cluster, proxy=proxy)
    site.controllers()
    message = site.await_condition(CONNECTED, "False", "ConnectionFailed")["message"]
    assert "answer" in message
    names_the_secret(message, site)
    proxy.resume()
    site.await_condition(CONNECTED, "True")


def test_a_short_break_is_no_news(site: Site, plain_cluster: ControlPlane) -> None:
    """Decision 16: five failures in a row disconnect, fewer do not."""
    proxy = site.proxy(plain_cluster)
    site.connect(plain_cluster, proxy=proxy)
    site.controllers()
    before = site.await_condition(CONNECTED, "True")
    accepted = proxy.accepted
    proxy.reset()
    eventually(lambda: proxy.accepted > accepted + 1)  # the probe and the watch are back
    assert site.condition(CONNECTED) == before


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "V1": ({"location": "here"}, "V1: cluster reference missing"),
    "V2": ({"cluster": "east"}, "V2: spec.cells"),
    "V3": (
        {"cluster": "east", "cells": {"location": "x"}, "capacity": {"cpu": "-1"}},
        "V3: spec.capacity[cpu] must not be negative",
    ),
    "V3 quota": (
        {"kcpCluster": "root", "resourceQuotas": {"memory": "-1Gi"}},
        "V3: spec.resourceQuotas.memory must not be negative",
    ),
    "V4": ({"cluster": "east", "cells": {"location": "x"}}, "V4: no image is known"),
    "mode": (
        {"kcpCluster": "root", "deployment": {"mode": "Managed", "image": "x"}},
        "no physical cluster is named",
    ),
}


def test_each_invalid_spec_costs_one_status_write_and_is_not_tried_again(site: Site) -> None:
    names = {name: f"rule-{number}" for number, name in enumerate(INVALID)}
    for rule, name in names.items():
        site.target(name, **INVALID[rule][0])
    controllers = site.controllers(syncer_image="")
    for rule, name in names.items():
        found = site.await_condition("Valid", "False", "ValidationFailed", name=name)
        assert INVALID[rule][1] in found["message"]
        assert site.get(name)["status"]["phase"] == "Failed"
    before = settle(controllers)
    # For each: its finalizer and label, its status, and one Event of either condition at most.
    assert controllers.count("rest_client_requests_total", method="PATCH") == 2 * len(names)
    quiet_for(controllers, before)
    for rule, name in names.items():
        spec = {**dict.fromkeys(INVALID[rule][0]), **EXTERNAL}
        site.upstream.resource(SYNCTARGETS).patch(name, {"spec": spec})
    for name in names.values():
        site.await_condition("Valid", "True", name=name)


def test_a_registration_that_does_not_exist_is_awaited(
    site: Site, plain_cluster: ControlPlane
) -> None:
    site.target(clusterRef={"name": "far"}, cells={"location": "x"})
    controllers = site.controllers()
    found = site.await_condition("Valid", "False", "ClusterRefNotFound")
    assert "ClusterRegistration 'far' does not exist in cluster" in found["message"]
    quiet_for(controllers, settle(controllers))
    site.secret("far", site.kubeconfig(plain_cluster))
    site.upstream.resource(CLUSTER_REGISTRATIONS).create(
        {
            "apiVersion": CLUSTER_REGISTRATIONS.api_version,
            "kind": CLUSTER_REGISTRATIONS.kind,
            "metadata": {"name": "far"},
            "spec": {
                "location": "x",
                "kubeconfigSecret": {"namespace": "kcpctl-system", "name": "far"},
            },
        }
    )
    site.await_condition("Valid", "True")
    site.await_condition(CONNECTED, "True")


def settle(controllers: Controllers) -> tuple[int, int]:
    """Wait until nothing has happened for a while; return (reconciles, writes)."""
    seen: list[tuple[int, int]] = []

    def same() -> bool:
        seen.append((controllers.reconciles, controllers.writes))
        return len(seen) > 6 and len(set(seen[-6:])) == 1

    eventually(same)
    return seen[-1]


def quiet_for(controllers: Controllers, before: tuple[int, int], looks: int = 10) -> None:
    """Look ``looks`` times, 50 ms apart: nothing happens."""
    seen = []

    def often_enough() -> bool:
        seen.append((controllers.reconciles, controllers.writes))
        return len(seen) == looks

    eventually(often_enough)
    assert set(seen) == {before}


def test_a_deletion_does_not_wait_forever_for_a_cluster_that_is_gone(
    site: Site, plain_cluster: ControlPlane
) -> None:
    proxy = site.proxy(plain_cluster)
    made = site.connect(plain_cluster, proxy=proxy)
    patient = site.controllers()
    site.await_condition("SyncerDeployed", "False")
    proxy.refuse()
    site.await_condition(CONNECTED, "False")
    site.upstream.resource(SYNCTARGETS).delete("east")
    waiting = site.await_condition("Deleting", "True")
    assert "cannot be reached" in waiting["message"]
    patient.stop()
    # deletionTimestamp has whole seconds: this may be over already, or not.
    site.controllers(force_delete_after_seconds=1.0)

    def gone() -> bool:
        try:
            site.get()
        except NotFound:
            return True
        return False

    eventually(gone)
    uid = made["metadata"]["uid"]
    selector = f"{SYNCTARGET_UID_LABEL}={uid}"
    accounts = site.upstream.resource(SERVICE_ACCOUNTS)
    assert accounts.list(label_selector=selector).items == []
    # What is on the cluster was left behind, and an event says so.
    assert plain_cluster.client.resource(NAMESPACES).list(label_selector=selector).items
    eventually(lambda: "OrphanedDownstream" in event_reasons(site, uid))


def event_reasons(site: Site, uid: str) -> set[str]:
    found = site.upstream.resource(EVENTS).list().items
    return {one["reason"] for one in found if one["regarding"]["uid"] == uid}


def test_two_sync_targets_of_one_name_do_not_mix(
    own_site: Site, plain_cluster: ControlPlane
) -> None:
    from tests.integration.conftest import Controllers, Site

    first = own_site
    second = Site(first.plane, first.directory, first.stack)
    bad = first.proxy(plain_cluster)
    bad.refuse()
    first.connect(plain_cluster, proxy=bad)
    second.connect(plain_cluster)
    first.stack.enter_context(Controllers(first.plane.config, everywhere=True))
    first.await_condition(CONNECTED, "False", "ConnectionFailed")
    second.await_condition(CONNECTED, "True")
    assert repr(first.cluster) in first.condition(CONNECTED)["message"]
    bad.accept()
    first.await_condition(CONNECTED, "True")
    labels = [one.get()["metadata"]["labels"] for one in (first, second)]
    assert labels[0] != labels[1]
    second.upstream.resource(SYNCTARGETS).delete("east")
    eventually(lambda: not second.upstream.resource(SYNCTARGETS).list().items)
    assert first.condition(CONNECTED)["status"] == "True"
