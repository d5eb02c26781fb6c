"""``--syncer-auth``: who gives a deployed syncer its credentials."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kcpctl.apis.naming import syncer_id
from kcpctl.apis.resource import (
    CERTIFICATE_SIGNING_REQUESTS,
    CLUSTER_ROLES,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.errors import NotFound
from kcpctl.runtime import parse_time
from kcpctl.testing import ControlPlane, eventually
from tests.integration.conftest import Site, new_site

# Of certificates: it is renewed near the end of it, for which a busy machine needs its time.
SIGNING_SECONDS = 8


def test_with_external_auth_a_secret_of_somebody_else_starts_the_syncer(
    site: Site, kubelet_cluster: ControlPlane
) -> None:
    site.controllers(syncer_auth="external")
    meta = site.connect(kubelet_cluster)["metadata"]
    name = syncer_id(meta["name"], meta["uid"])
    waiting = site.await_condition("SyncerDeployed", "False", "WaitingForSecret")
    assert f"The Secret '{name}' in namespace '{name}'" in waiting["message"]

    answer = site.upstream.resource(SERVICE_ACCOUNTS).create(
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        namespace="kcpctl-system",
        subresource="token",
        name=name,
    )
    kubeconfig = site.kubeconfig(site.plane)
    kubeconfig["users"][0]["user"] = {"token": answer["status"]["token"]}
    secrets = kubelet_cluster.client.resource(SECRETS)
    secret = secrets.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": name},
            "stringData": {"kubeconfig": json.dumps(kubeconfig)},
        }
    )
    site.await_condition("Ready", "True")
    after = secrets.get(name, namespace=name)
    assert after["metadata"]["resourceVersion"] == secret["metadata"]["resourceVersion"]

    site.upstream.resource(SYNCTARGETS).delete("east")
    eventually(lambda: not site.upstream.resource(SYNCTARGETS).list().items)
    left = {one["metadata"]["name"] for one in kubelet_cluster.client.resource(NAMESPACES).list()}
    assert name not in left


@pytest.fixture(scope="module")
def short_lived() -> Iterator[ControlPlane]:
    """A control plane whose certificates live for seconds."""
    with ControlPlane(signing_seconds=SIGNING_SECONDS) as plane:
        yield plane


def test_a_syncer_works_by_certificates_that_it_rotates_without_missing_a_beat(
    short_lived: ControlPlane, kubelet_cluster: ControlPlane, tmp_path: Path
) -> None:
    with new_site(short_lived, tmp_path) as site:
        site.controllers(syncer_auth="certificate")
        spec: dict[str, Any] = {"cluster": "east", "cells": {"location": "east"}}
        meta = site.connect(kubelet_cluster, syncer={"heartbeatInterval": "500ms"}, **spec)
        name = syncer_id(meta["metadata"]["name"], meta["metadata"]["uid"])
        site.await_condition("Ready", "True")
        site.await_condition("SyncerCertificate", "True", "Issued")
        requests = site.upstream.resource(CERTIFICATE_SIGNING_REQUESTS)
        seen, stamps = set(), []

        def rotated() -> bool:
            with contextlib.suppress(NotFound):
                spec = requests.get(name)["spec"]
                seen.add((spec["request"], spec["username"]))
            stamps.append(parse_time(site.get()["status"]["lastSyncerHeartbeatTime"]))
            return len(seen) >= 3

        eventually(rotated)
        renewals = [who for _, who in seen if who.startswith("system:syncer:")]
        assert len(renewals) >= len(seen) - 1
        gaps = [after - before for before, after in itertools.pairwise(stamps)]
        assert max(gaps) < SIGNING_SECONDS, "a certificate lives longer than any pause was"
        assert site.condition("Ready")["status"] == "True"
        log = pod_log(kubelet_cluster, name)
        assert "Got a client certificate" in log
        for failure in ("Heartbeat failed", "No client certificate", "Traceback"):
            assert failure not in log

        site.upstream.resource(SYNCTARGETS).delete("east")
        eventually(lambda: not site.upstream.resource(SYNCTARGETS).list().items)
        assert not requests.list().items
        roles = site.upstream.resource(CLUSTER_ROLES).list()
        assert not [one for one in roles if one["metadata"]["name"].startswith(name)]


def pod_log(cluster: ControlPlane, namespace: str) -> str:
    """Return what the one Pod in a namespace has written."""
    (pod,) = cluster.client.resource(PODS).list(namespace=namespace).items
    path = PODS.path(namespace=namespace, name=pod["metadata"]["name"]) + "/log"
    answer = cluster.client.loop.run(cluster.client.aio.request("GET", path))
    return answer.body.decode()
