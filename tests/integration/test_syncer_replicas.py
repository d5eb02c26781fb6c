"""Several syncers of one SyncTarget: one works, the others stand by (2.4)."""

from __future__ import annotations

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import SYNCTARGET_UID_LABEL, syncer_id
from kcpctl.apis.resource import LEASES, PODS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.testing import ControlPlane, eventually
from tests.integration.conftest import Site


def test_of_two_syncers_one_works_and_the_other_takes_over_when_it_ends(
    site: Site, kubelet_cluster: ControlPlane
) -> None:
    downstream = kubelet_cluster.client
    spec: Unstructured = {
        "cluster": "east",
        "cells": {"location": "east"},
        "deployment": {"replicas": 2},
        "syncer": {"heartbeatInterval": "1s"},
    }
    uid: str = site.connect(kubelet_cluster, **spec)["metadata"]["uid"]
    name = syncer_id("east", uid)
    selector = f"{SYNCTARGET_UID_LABEL}={uid}"

    def pods() -> list[Unstructured]:
        return list(downstream.resource(PODS).list(label_selector=selector))

    def holder() -> str:
        lease = downstream.resource(LEASES).get(name, namespace=name)
        found: str = lease.get("spec", {}).get("holderIdentity", "")
        return found.partition("_")[0]

    def beat() -> str:
        status: Unstructured = site.get()["status"]
        return f"{status['syncerIdentity']} {status['lastSyncerHeartbeatTime']}"

    site.controllers()
    site.await_condition("Ready", "True")
    eventually(lambda: len(pods()) == 2 and all(map(is_ready, pods())))
    first, before = holder(), beat()
    assert first in {one["metadata"]["name"] for one in pods()}
    eventually(lambda: beat() != before)
    assert beat().partition(" ")[0] == before.partition(" ")[0]

    downstream.resource(PODS).delete(first, namespace=name)
    eventually(lambda: holder() not in {"", first})
    eventually(lambda: beat().partition(" ")[0] != before.partition(" ")[0])
    assert site.condition("Ready")["status"] == "True"

    site.upstream.resource(SYNCTARGETS).delete("east")
    eventually(lambda: not site.upstream.resource(SYNCTARGETS).list().items)
    assert not downstream.resource(LEASES).list(label_selector=selector).items


def is_ready(pod: Unstructured) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
