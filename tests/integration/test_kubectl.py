"""Stock kubectl in a workspace: what people do with SyncTargets and around them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from itertools import count
from pathlib import Path

import pytest

from kcpctl.testing import ControlPlane

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
EXAMPLE = Path(__file__).parents[2] / "examples" / "synctarget.yaml"
_numbers = count(1)


class Kubectl:
    """Runs kubectl with a private home."""

    def __init__(self, kubeconfig: Path, server: str, home: Path) -> None:
        self._server = server
        self._env = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(home)}
        self.home = home

    def run(
        self, *args: str, stdin: str | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [KUBECTL or "kubectl", f"--server={self._server}", *args],
            env={**self._env, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def __call__(self, *args: str, stdin: str | None = None, **env: str) -> str:
        done = self.run(*args, stdin=stdin, **env)
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
        return done.stdout.strip()

    def fails(self, *args: str, stdin: str | None = None, **env: str) -> str:
        done = self.run(*args, stdin=stdin, **env)
        assert done.returncode != 0, done.stdout
        return done.stderr.strip()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kubectl's home, shared for its discovery cache."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def kubectl(control_plane: ControlPlane, home: Path) -> Kubectl:
    """Kubectl in a workspace of its own."""
    name = f"kubectl-{next(_numbers)}"
    control_plane.workspace(name)
    server = f"{control_plane.config.server}/clusters/root:{name}"
    return Kubectl(control_plane.kubeconfig, server, home)


def manifest(**spec: object) -> str:
    """Return a SyncTarget as JSON, valid unless ``spec`` says otherwise."""
    return json.dumps(
        {
            "apiVersion": "workload.kcp.io/v1alpha1",
            "kind": "SyncTarget",
            "metadata": {"name": "target"},
            "spec": {"cluster": "north", "cells": {"location": "north"}} | spec,
        }
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"cluster": "Not A Name"}, "spec.cluster: Invalid value"),
        ({"clusterRef": {"name": "b"}}, "set one of them"),
        ({"cells": {"a": "x" * 64}}, "spec.cells.a: Too long: may not be more than 63 bytes"),
        ({"taints": [{"key": "a"}]}, "spec.taints[0].effect: Required value"),
        (
            {"taints": [{"key": "a", "effect": "Never"}]},
            'spec.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule"',
        ),
        (
            {"supportedAPIExports": [{"export": "x"}, {"export": "x"}]},
            'spec.supportedAPIExports[1]: Duplicate value: {"export":"x","path":""}',
        ),
        (
            {"supportedResourceTypes": ["x", "x"]},
            'spec.supportedResourceTypes[1]: Duplicate value: "x"',
        ),
        ({"cells": {"a": 5}}, 'spec.cells.a: Invalid value: "integer"'),
    ],
)
def test_an_invalid_sync_target_is_refused(
    kubectl: Kubectl, spec: dict[str, object], message: str
) -> None:
    refused = kubectl.fails("create", "-f", "-", stdin=manifest(**spec))
    assert refused.startswith('The SyncTarget "target" is invalid:')
    assert message in refused
    assert kubectl("get", "synctargets", "-o", "name") == ""


def test_an_unknown_field_is_an_error_or_a_warning(kubectl: Kubectl) -> None:
    wrong = manifest(cluser="typo")
    refused = kubectl.fails("create", "-f", "-", stdin=wrong)
    assert refused == (
        'Error from server (BadRequest): error when creating "STDIN": SyncTarget in version '
        '"v1alpha1" cannot be handled as a SyncTarget: strict decoding error: unknown field '
        '"spec.cluser"'
    )
    warned = kubectl.run("create", "--validate=warn", "-f", "-", stdin=wrong)
    assert (warned.returncode, warned.stderr) == (0, 'Warning: unknown field "spec.cluser"\n')


def test_an_unknown_kind_names_the_way_out(kubectl: Kubectl) -> None:
    thing = '{"apiVersion": "nope.io/v1", "kind": "Nope", "metadata": {"name": "a"}}'
    refused = kubectl.fails("apply", "-f", "-", stdin=thing)
    assert 'no matches for kind "Nope" in version "nope.io/v1"' in refused
    assert "ensure CRDs are installed first" in refused


def test_what_is_fixed_cannot_be_changed(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=manifest(kcpCluster="root:a"))
    patch = '{"spec":{"kcpCluster":"root:b"}}'
    refused = kubectl.fails("patch", "st", "target", "--type=merge", "-p", patch)
    assert refused.startswith('The SyncTarget "target" is invalid:')
    assert "spec.kcpCluster" in refused


def test_strangers_are_told_what_they_may_not(kubectl: Kubectl) -> None:
    assert kubectl.fails("get", "synctargets", "--as=jane") == (
        'Error from server (Forbidden): synctargets.workload.kcp.io is forbidden: User "jane" '
        'cannot list resource "synctargets" in API group "workload.kcp.io" at the cluster scope'
    )
    kubectl("create", "clusterrole", "r", "--verb=list,get", "--resource=synctargets")
    kubectl("create", "clusterrolebinding", "b", "--clusterrole=r", "--user=jane")
    assert kubectl("get", "synctargets", "--as=jane") == ""
    assert kubectl("auth", "can-i", "list", "synctargets", "--as=jane") == "yes"
    assert "synctargets.workload.kcp.io" in kubectl("auth", "can-i", "--list", "--as=jane")


def test_apply_says_created_unchanged_and_configured(kubectl: Kubectl) -> None:
    name = "synctarget.workload.kcp.io/north"
    assert kubectl("apply", "-f", str(EXAMPLE)) == f"{name} created"
    assert kubectl("apply", "-f", str(EXAMPLE)) == f"{name} unchanged"
    changed = EXAMPLE.read_text().replace("location: north", "location: nord")
    differs = kubectl.run("diff", "-f", "-", stdin=changed)
    assert (differs.returncode, differs.stderr) == (1, "")
    assert "+    location: nord" in differs.stdout
    assert kubectl("apply", "-f", "-", stdin=changed) == f"{name} configured"
    assert kubectl("get", "st", "north", "-o", "jsonpath={.metadata.generation}") == "2"


def test_server_side_apply_goes_on_after_client_side_apply(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", str(EXAMPLE))
    changed = EXAMPLE.read_text().replace("location: north", "location: nord")
    applied = "synctarget.workload.kcp.io/north serverside-applied"
    assert kubectl("apply", "--server-side", "-f", "-", stdin=changed) == applied
    other = ("apply", "--server-side", "--field-manager=other", "-f", str(EXAMPLE))
    conflict = kubectl.fails(*other)
    assert ".spec.location" in conflict
    assert "--force-conflicts" in conflict
    assert kubectl(*other, "--force-conflicts") == applied


def test_edit(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=manifest())
    edited = kubectl("edit", "st", "target", KUBE_EDITOR="sed -i s/location:.*/location:\\ here/")
    assert edited == "synctarget.workload.kcp.io/target edited"
    assert kubectl("get", "st", "-o", "jsonpath={.items[0].spec.cells.location}") == "here"
    wrong = kubectl.fails("edit", "st", "target", KUBE_EDITOR="sed -i s/cluster:.*/cluster:\\ A_B/")
    assert 'synctargets.workload.kcp.io "target" is invalid' in wrong


def test_printed_forms(kubectl: Kubectl) -> None:
    kubectl("create", "-f", str(EXAMPLE))
    status = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'
    kubectl("patch", "st", "north", "--subresource=status", "--type=merge", "-p", status)
    narrow, wide = (kubectl("get", "synctargets", *flags) for flags in ((), ("-o", "wide")))
    assert narrow.splitlines()[0].split()[:3] == ["NAME", "LOCATION", "READY"]
    assert narrow.splitlines()[1].split()[:3] == ["north", "north", "True"]
    assert len(wide.splitlines()[0].split()) > len(narrow.splitlines()[0].split())
    assert kubectl("get", "st", "-o", "name") == "synctarget.workload.kcp.io/north"
    columns = "custom-columns=N:.metadata.name,C:.spec.capacity.cpu"
    assert kubectl("get", "st", "-o", columns, "--no-headers").split() == ["north", "8"]
    assert json.loads(kubectl("get", "st", "north", "-o", "json"))["kind"] == "SyncTarget"
    assert "Location:" in kubectl("describe", "synctarget", "north")
    assert kubectl("get", "st", "-l", "region=south", "-o", "name") == ""
    assert kubectl("wait", "st/north", "--for=condition=Ready", "--timeout=30s").endswith("met")


def test_delete_waits_for_finalizers(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=manifest())
    held = '{"metadata":{"finalizers":["example.com/held"]}}'
    kubectl("patch", "st", "target", "--type=merge", "-p", held)
    assert "timed out waiting" in kubectl.fails("delete", "st", "target", "--timeout=1s")
    kubectl("patch", "st", "target", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    gone = kubectl.fails("get", "st", "target")
    assert gone == ('Error from server (NotFound): synctargets.workload.kcp.io "target" not found')


def test_labels_and_annotations(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=manifest())
    assert kubectl("label", "st", "target", "a=b").endswith(" labeled")
    refused = kubectl.fails("label", "st", "target", "a=c")
    assert "'a' already has a value (b), and --overwrite is false" in refused
    assert kubectl("label", "st", "target", "a-").endswith(" unlabeled")
    assert kubectl("annotate", "st", "target", "x=y").endswith(" annotated")
    assert kubectl("get", "st", "-o", "jsonpath={.items[0].metadata.generation}") == "1"


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        ("synctarget.spec", "cells\t<map[string]string>"),
        (
            "synctarget.spec.taints.effect",
            "ENUM:\n    NoSchedule\n    PreferNoSchedule\n    NoExecute",
        ),
        ("deployment.spec", "template\t<PodTemplateSpec> -required-"),
        ("pod.spec.containers.resources", "limits\t<map[string]Quantity>"),
    ],
)
def test_explain(kubectl: Kubectl, what: str, shown: str) -> None:
    assert shown in kubectl("explain", what)


def test_explain_recursively(kubectl: Kubectl) -> None:
    shown = kubectl("explain", "synctarget.spec", "--recursive")
    assert "  taints\t<[]Object>\n    effect\t<string> -required-" in shown
    unknown = kubectl.fails("explain", "synctarget.nope")
    assert unknown == 'error: field "nope" does not exist'


def test_discovery(kubectl: Kubectl) -> None:
    listed = kubectl("api-resources", "--api-group=workload.kcp.io", "--no-headers")
    assert listed.split()[:3] == ["synctargets", "st", "workload.kcp.io/v1alpha1"]
    versions = kubectl("api-versions").splitlines()
    assert {"apps/v1", "tenancy.kcp.io/v1alpha1", "workload.kcp.io/v1alpha1"} <= set(versions)
    assert "is running at" in kubectl("cluster-info")
    assert kubectl.fails("top", "nodes") == "error: Metrics API not available"


def test_objects_of_several_kinds_in_one_list(kubectl: Kubectl) -> None:
    parts = [
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}}
        for kind in ("ConfigMap", "Secret")
    ]
    both = json.dumps({"apiVersion": "v1", "kind": "List", "items": parts})
    assert kubectl("apply", "-f", "-", stdin=both) == "configmap/a created\nsecret/a created"
    kubectl("create", "service", "clusterip", "web", "--tcp=80")
    kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
    everything = kubectl("get", "all,configmaps")
    assert all(name in everything for name in ("configmap/a", "service/web", "deployment.apps/web"))
    assert kubectl("scale", "deployment/web", "--replicas=3").endswith(" scaled")
    assert kubectl("expose", "deployment/web", "--port=80", "--name=again").endswith(" exposed")
