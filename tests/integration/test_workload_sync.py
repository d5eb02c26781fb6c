"""``kcpctl workload sync``, as the admin of a cluster uses it."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import syncer_id
from kcpctl.apis.resource import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    DEPLOYMENTS,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.main import main
from kcpctl.errors import NotFound
from kcpctl.reconcilers.synctarget.rollout import CONFIG_HASH_ANNOTATION
from kcpctl.testing import ControlPlane, eventually
from tests.integration.conftest import Site

IMAGE = "--syncer-image=kcpctl-syncer:local"
needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")


def sync(site: Site, *args: str, kubeconfig: Path | None = None) -> int:
    path = kubeconfig or site.kubeconfig_file(site.plane)
    return main(["workload", "sync", "east", f"--kubeconfig={path}", *args])


def identity(site: Site) -> str:
    meta = site.get()["metadata"]
    return syncer_id(meta["name"], meta["uid"])


def kubectl_apply(cluster: ControlPlane, text: str) -> str:
    command = ["kubectl", f"--kubeconfig={cluster.kubeconfig}", "apply", "-f", "-"]
    done = subprocess.run(command, input=text, text=True, check=True, capture_output=True)
    return done.stdout


def remove(site: Site, cluster: ControlPlane) -> None:
    """End the syncer, which else runs on the shared cluster until the end of the session."""
    cluster.client.resource(NAMESPACES).delete(identity(site))


@needs_kubectl
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_what_it_prints_makes_an_external_target_ready(
    site: Site, kubelet_cluster: ControlPlane, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    site.controllers()
    assert sync(site, "--create", IMAGE, "-o", form) == 0
    printed = capsys.readouterr()
    assert "token ends at 20" in printed.err
    assert kubectl_apply(kubelet_cluster, printed.out).count("created") == 6
    site.await_condition("Ready", "True")
    assert site.condition("SyncerDeployed")["reason"] == "NotManaged"
    remove(site, kubelet_cluster)
    site.upstream.resource(SYNCTARGETS).delete("east")
    eventually(lambda: not site.upstream.resource(SYNCTARGETS).list().items)


@needs_kubectl
def test_a_second_time_only_the_token_is_another(
    site: Site, plain_cluster: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync(site, "--create", "--replicas=0", IMAGE) == 0
    first = capsys.readouterr().out
    assert sync(site, "--create", "--replicas=0", IMAGE) == 0
    second = capsys.readouterr().out
    kubectl_apply(plain_cluster, first)
    changes = [line.split()[-1] for line in kubectl_apply(plain_cluster, second).splitlines()]
    assert sorted(changes) == ["configured", *["unchanged"] * 5]
    remove(site, plain_cluster)


def test_it_is_what_the_controller_deploys(
    site: Site, kubelet_cluster: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    site.controllers()
    site.connect(kubelet_cluster)
    site.await_condition("Ready", "True")
    assert sync(site, IMAGE, "-o", "json") == 0
    printed = capsys.readouterr()
    *_, mine = json.loads(printed.out)["items"]
    deployments = kubelet_cluster.client.resource(DEPLOYMENTS)
    theirs = deployments.get(identity(site), namespace=identity(site))
    hashes = [one["metadata"]["annotations"][CONFIG_HASH_ANNOTATION] for one in (mine, theirs)]
    assert hashes[0] == hashes[1]
    assert "token ends" not in printed.err  # the controller renews it
    to = f"--to-kubeconfig={kubelet_cluster.kubeconfig}"
    assert sync(site, IMAGE, "--apply", to) == 0
    after = deployments.get(identity(site), namespace=identity(site))
    assert after["metadata"]["generation"] == theirs["metadata"]["generation"]
    site.upstream.resource(SYNCTARGETS).delete("east")
    eventually(lambda: not site.upstream.resource(SYNCTARGETS).list().items)


def test_apply_deploys_it_with_a_certificate_if_wanted(
    site: Site, kubelet_cluster: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    site.controllers(syncer_auth="certificate")
    to = f"--to-kubeconfig={kubelet_cluster.kubeconfig}"
    assert sync(site, "--create", IMAGE, "--syncer-auth=certificate", "--apply", to) == 0
    name = identity(site)
    printed = capsys.readouterr()
    assert printed.out == f"deployment/{name} applied in namespace {name}\n"
    assert f"else do it: kubectl certificate approve {name}" in printed.err
    site.await_condition("Ready", "True")
    site.await_condition("SyncerCertificate", "True", "Issued")
    remove(site, kubelet_cluster)


def test_the_flags_become_the_spec_of_a_created_target(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "syncer.yaml"
    flags = ["--namespace=shared", "--replicas=0", "--qps=5", "--burst=10", "--apiexports=a:b,c"]
    assert sync(site, "--create", IMAGE, *flags, f"--output-file={path}") == 0
    assert site.get()["spec"] == {
        "supportedAPIExports": [{"export": "b", "path": "a"}, {"export": "c", "path": ""}],
        "cells": {"location": "east"},
        "deployment": {"mode": "External", "namespace": "shared", "replicas": 0},
        "syncer": {"qps": 5, "burst": 10},
    }
    assert capsys.readouterr().out == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    objects = list(yaml.safe_load_all(path.read_text()))
    namespace, *_, deployment = objects
    assert namespace["metadata"] == {"name": "shared"}  # it may be somebody else's
    assert deployment["spec"]["replicas"] == 0
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[-2:] == ["--qps=5", "--burst=10"]
    assert sync(site, IMAGE, "--replicas=1") == 2
    assert "spec.deployment.replicas of SyncTarget 'east' is 0, not 1" in capsys.readouterr().err


def test_dry_run_writes_nothing_and_leaves_the_secret_out(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync(site, "--create", "--dry-run", IMAGE) == 2
    assert "--dry-run creates none" in capsys.readouterr().err
    site.target(kcpCluster="root:test")
    assert sync(site, "--dry-run", IMAGE) == 0
    first = capsys.readouterr().out
    assert "kind: Secret" not in first
    assert first.count("\n---\n") == 4
    with pytest.raises(NotFound):
        site.upstream.resource(SERVICE_ACCOUNTS).get(identity(site), namespace="kcpctl-system")
    assert sync(site, "--dry-run", IMAGE) == 0
    assert capsys.readouterr().out == first


def test_without_the_target_or_an_image_it_says_what_to_give(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync(site, IMAGE) == 1
    assert "there is no SyncTarget 'east' at" in capsys.readouterr().err
    assert sync(site, "--create") == 2
    assert "give --syncer-image" in capsys.readouterr().err
    assert site.upstream.resource(SYNCTARGETS).list().items == []
    site.target(kcpCluster="root:test")
    assert sync(site) == 2
    assert "give --syncer-image" in capsys.readouterr().err


def test_a_target_that_is_not_valid_gets_no_syncer(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.target(cluster="east")
    assert sync(site, IMAGE) == 1
    assert "SyncTarget 'east' is not valid: V2: spec.cells" in capsys.readouterr().err


def reader(site: Site) -> Path:
    """A kubeconfig of somebody who may read SyncTargets and nothing else."""
    upstream = site.upstream
    meta: Unstructured = {"name": "reader"}
    rule = {"apiGroups": ["workload.kcp.io"], "resources": ["synctargets"], "verbs": ["get"]}
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": "default"}
    role = {"apiGroup": CLUSTER_ROLES.group, "kind": "ClusterRole", "name": "reader"}
    upstream.resource(SERVICE_ACCOUNTS).create({"metadata": meta}, namespace="default")
    upstream.resource(CLUSTER_ROLES).create({"metadata": meta, "rules": [rule]})
    upstream.resource(CLUSTER_ROLE_BINDINGS).create(
        {"metadata": meta, "roleRef": role, "subjects": [subject]}
    )
    answer = upstream.resource(SERVICE_ACCOUNTS).create(
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        namespace="default",
        subresource="token",
        name="reader",
    )
    config: dict[str, Any] = site.kubeconfig(site.plane)
    config["users"][0]["user"] = {"token": answer["status"]["token"]}
    path = site.directory / "reader.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def test_without_the_rights_it_says_which_are_missing(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.target(kcpCluster="root:test")
    assert sync(site, IMAGE, kubeconfig=reader(site)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "the syncer's identity cannot be made at" in printed.err
    assert "use an account that may create service accounts and their tokens" in printed.err


def test_the_token_is_in_the_secret_and_nowhere_else(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync(site, "--create", "--token-duration=1h", IMAGE, "-v") == 0
    printed = capsys.readouterr()
    objects = list(yaml.safe_load_all(printed.out))
    (secret,) = (obj for obj in objects if obj["kind"] == SECRETS.kind)
    kubeconfig = json.loads(base64.b64decode(secret["data"]["kubeconfig"]))
    token = kubeconfig["users"][0]["user"]["token"]
    assert token.count(".") == 2
    assert kubeconfig["clusters"][0]["cluster"]["server"] == site.upstream.url
    assert token not in printed.out + printed.err


@pytest.mark.parametrize(
    "flags",
    [["--apply"], ["--to-kubeconfig=x"], ["--apply", "--to-kubeconfig=x", "--dry-run"]],
)
def test_flags_that_do_not_go_together_are_refused(flags: list[str]) -> None:
    assert main(["workload", "sync", "east", *flags]) == 2
