"""``--syncer-auth``: who gives a deployed syncer its credentials."""

from __future__ import annotations

import json

from kcpctl.apis.naming import syncer_id
from kcpctl.apis.resource import NAMESPACES, SECRETS, SERVICE_ACCOUNTS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.testing import ControlPlane, eventually
from tests.integration.conftest import Site


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
    site.await_condition("Ready", "True", seconds=30)
    after = secrets.get(name, namespace=name)
    assert after["metadata"]["resourceVersion"] == secret["metadata"]["resourceVersion"]

    site.upstream.resource(SYNCTARGETS).delete("east")
    eventually(lambda: not site.upstream.resource(SYNCTARGETS).list().items, timeout_seconds=30)
    left = {one["metadata"]["name"] for one in kubelet_cluster.client.resource(NAMESPACES).list()}
    assert name not in left
