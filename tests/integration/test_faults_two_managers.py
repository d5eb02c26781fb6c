"""Two managers without an election, which each believe to be the only one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import SYNCTARGET_UID_LABEL
from kcpctl.apis.resource import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    DEPLOYMENTS,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import Client
from kcpctl.errors import NotFound
from kcpctl.testing import ControlPlane, eventually

if TYPE_CHECKING:
    from tests.integration.conftest import Controllers, Site

DEPLOYED = (
    NAMESPACES,
    SERVICE_ACCOUNTS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    SECRETS,
    DEPLOYMENTS,
)
BEAT_SECONDS = 0.2
SPEC: dict[str, Any] = {
    "cluster": "east",
    "cells": {"location": "x"},
    "syncer": {"heartbeatInterval": "200ms"},
}


def deployed(client: Client, uid: str) -> dict[str, str]:
    """Return the versions of all objects of a SyncTarget's syncer on one server."""
    found: dict[str, str] = {}
    for resource in DEPLOYED:
        selector = f"{SYNCTARGET_UID_LABEL}={uid}"
        for one in client.resource(resource).list(label_selector=selector).items:
            meta = one["metadata"]
            found[f"{resource.kind} {meta['name']}"] = meta["resourceVersion"]
    return found


def unbeaten(target: Unstructured) -> Unstructured:
    """Return a SyncTarget without what its syncer writes."""
    status = {k: target["status"][k] for k in ("conditions", "phase", "observedGeneration")}
    fields = ("resourceVersion", "managedFields")
    meta = {k: v for k, v in target["metadata"].items() if k not in fields}
    return {**target, "metadata": meta, "status": status}


def everything(site: Site, downstream: Client, managers: list[Controllers], uid: str) -> Any:
    return (
        [one.writes for one in managers],
        unbeaten(site.get()),
        deployed(site.upstream, uid),
        deployed(downstream, uid),
    )


def beats(site: Site) -> str:
    version: str = site.get()["metadata"]["resourceVersion"]
    return version


def assert_at_rest(site: Site, downstream: Client, managers: list[Controllers], uid: str) -> None:
    """Wait until nothing is written, and see it stay so for five heartbeats."""
    seen: list[Any] = []

    def same() -> bool:
        seen.append(everything(site, downstream, managers, uid))
        return len(seen) >= 4 and all(one == seen[-1] for one in seen[-4:])

    eventually(same, poll_seconds=BEAT_SECONDS)
    for _ in range(5):
        before = beats(site)
        eventually(lambda before=before: beats(site) != before)  # type: ignore[misc]
        assert everything(site, downstream, managers, uid) == seen[-1]


def test_two_managers_without_election_converge_and_do_not_fight(
    site: Site, kubelet_cluster: ControlPlane
) -> None:
    downstream = kubelet_cluster.client
    managers = [site.controllers(), site.controllers()]
    uid: str = site.connect(kubelet_cluster, **SPEC)["metadata"]["uid"]
    for kind in ("Ready", "SyncerReady", "SyncerAuthorized"):  # the syncer's come last
        site.await_condition(kind, "True")
    assert_at_rest(site, downstream, managers, uid)
    assert len(deployed(downstream, uid)) == len(DEPLOYED)

    site.upstream.resource(SYNCTARGETS).delete("east")
    eventually(lambda: is_gone(site))
    assert deployed(downstream, uid) == {}
    assert deployed(site.upstream, uid) == {}


def is_gone(site: Site) -> bool:
    try:
        site.get()
    except NotFound:
        return True
    return False
