"""APIs that one workspace exports and another binds, by stock kubectl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from kcpctl.errors import NotFound
from kcpctl.testing.control_plane import ControlPlane

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
Json = dict[str, Any]

SCHEMA = """
apiVersion: apis.kcp.io/v1alpha1
kind: APIResourceSchema
metadata: {name: v1.widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      type: object
      properties:
        spec:
          type: object
          properties:
            replicas: {type: integer, default: 1}
            size: {type: integer, description: How big it is.}
          x-kubernetes-validations:
          - {rule: "!has(self.size) || self.size < 10", message: too big}
        status: {type: object, properties: {replicas: {type: integer}}}
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
"""
EXPORT = """
apiVersion: apis.kcp.io/v1alpha2
kind: APIExport
metadata: {name: widgets}
spec:
  resources: [{group: example.com, name: widgets, schema: v1.widgets.example.com}]
  permissionClaims:
  - {group: "", resource: configmaps, verbs: [get, list]}
"""
BINDING = """
apiVersion: apis.kcp.io/v1alpha2
kind: APIBinding
metadata: {name: widgets}
spec:
  reference: {export: {path: "root:provider", name: widgets}}
  permissionClaims:
  - {group: "", resource: configmaps, verbs: [get, list], state: Accepted,
     selector: {matchAll: true}}
"""
MAY_BIND = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: bind}
rules:
- {apiGroups: [apis.kcp.io], resources: [apiexports], resourceNames: [widgets], verbs: [bind]}
"""
WIDGET = """
apiVersion: example.com/v1
kind: Widget
metadata: {name: %s, namespace: default}
spec: {size: %d}
"""


def url_of(plane: ControlPlane) -> str:
    """Return the server's URL without a path."""
    return plane.config.server.partition("/clusters/")[0]


class Kubectl:
    """Runs kubectl as the administrator, in one workspace."""

    def __init__(self, plane: ControlPlane, cluster: str) -> None:
        home = plane.kubeconfig.parent
        self._env = {**os.environ, "KUBECONFIG": str(plane.kubeconfig), "HOME": str(home)}
        self._server = f"--server={url_of(plane)}/clusters/{cluster}"

    def run(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [KUBECTL or "kubectl", self._server, *args]
        return subprocess.run(
            command,
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def __call__(self, *args: str, stdin: str = "") -> str:
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
        return done.stdout.strip()

    def fails(self, *args: str, stdin: str = "") -> str:
        done = self.run(*args, stdin=stdin)
        assert done.returncode != 0, done.stdout
        return done.stderr.strip()

    def apply(self, text: str) -> str:
        return self("apply", "-f-", stdin=text)

    def get(self, *args: str) -> Json:
        found: Json = json.loads(self("get", "-o", "json", *args))
        return found


class Bench:
    """A server without kcpctl's CRDs; what a provider exports is bound in one workspace."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        plane.workspace("provider")
        plane.workspace("tenant")
        self.provider = Kubectl(plane, "root:provider")
        self.tenant = Kubectl(plane, "root:tenant")
        self.provider.apply(SCHEMA + "---" + EXPORT)
        self.tenant.apply(BINDING)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with ControlPlane(bare=True, keeps_objects=True) as plane:
        yield Bench(plane)


def test_a_tenant_gets_the_kind_and_nothing_of_kcpctl(bench: Bench) -> None:
    ready = "jsonpath={.status.phase} {.status.conditions[0].type}={.status.conditions[0].status}"
    assert bench.tenant("get", "apibinding", "widgets", "-o", ready) == "Bound Ready=True"
    names = bench.tenant("api-resources", "--api-group=example.com", "-o", "name")
    assert names == "widgets.example.com"
    assert "the server doesn't have a resource type" in bench.tenant.fails("get", "synctargets")
    assert "the server doesn't have a resource type" in bench.provider.fails("get", "widgets")
    assert "How big it is." in bench.tenant("explain", "widget.spec.size")


def test_bound_objects_are_validated_and_shown_and_scaled(bench: Bench) -> None:
    assert "too big" in bench.tenant.fails("apply", "-f-", stdin=WIDGET % ("big", 11))
    bench.tenant.apply(WIDGET % ("small", 3))
    lines = bench.tenant("get", "wd").splitlines()
    assert [line.split() for line in lines] == [["NAME", "SIZE"], ["small", "3"]]
    bench.tenant("scale", "widget/small", "--replicas=4")
    status = '{"status": {"replicas": 4}, "spec": {"size": 9}}'
    patch = ("patch", "widget", "small", "--type=merge", "--subresource=status", "-p", status)
    bench.tenant(*patch)
    found = bench.tenant.get("widget", "small")
    assert (found["spec"], found["status"]) == ({"replicas": 4, "size": 3}, {"replicas": 4})
    bench.tenant("delete", "widget", "small")


def test_all_workspaces_are_asked_with_the_identity(bench: Bench) -> None:
    bench.tenant.apply(WIDGET % ("everywhere", 1))
    identity = bench.provider.get("apiexport", "widgets")["status"]["identityHash"]
    path = "/clusters/*/apis/example.com/v1/widgets"
    found = json.loads(bench.tenant("get", "--raw", f"{path}:{identity}"))
    assert [one["metadata"]["name"] for one in found["items"]] == ["everywhere"]
    for suffix in ("", f":{'0' * 64}"):
        assert "NotFound" in bench.tenant.fails("get", "--raw", path + suffix)
    bench.tenant("delete", "widget", "everywhere")


def test_metadata_alone_need_no_identity(bench: Bench) -> None:
    bench.tenant.apply(WIDGET % ("everywhere", 1))
    kind = "application/json;g=meta.k8s.io;v=v1;as=PartialObjectMetadataList"
    wildcard = bench.plane.all_clusters.wildcard()
    found = json.loads(wildcard.request("GET", "/apis/example.com/v1/widgets", accept=kind).body)
    (item,) = found["items"]
    assert (item["kind"], item["metadata"]["name"]) == ("PartialObjectMetadata", "everywhere")
    with pytest.raises(NotFound):
        wildcard.request("GET", "/apis/example.com/v1/widgets")
    bench.tenant("delete", "widget", "everywhere")
    found = json.loads(wildcard.request("GET", "/apis/example.com/v1/widgets", accept=kind).body)
    assert found["items"] == []


def test_the_endpoint_is_there_while_something_is_bound(bench: Bench) -> None:
    cluster = bench.provider.get("apiexport", "widgets")["metadata"]["annotations"][
        "kcp.io/cluster"
    ]
    status = bench.provider.get("apiexportendpointslice", "widgets")["status"]
    url = f"{url_of(bench.plane)}/services/apiexport/{cluster}/widgets"
    assert status["endpoints"] == [{"url": url}]


def test_binding_needs_the_right_to_bind(bench: Bench) -> None:
    rights = ("create", "clusterrole", "edits", "--verb=*", "--resource=apibindings.apis.kcp.io")
    bench.tenant(*rights)
    bench.tenant("create", "clusterrolebinding", "edits", "--clusterrole=edits", "--user=jane")
    own = BINDING.replace("metadata: {name: widgets}", "metadata: {name: jane}")
    refusal = (
        'Error from server (Forbidden): error when creating "STDIN": apibindings.apis.kcp.io '
        '"jane" is forbidden: unable to create APIBinding: no permission to bind to export '
        "root:provider:widgets"
    )
    assert bench.tenant.fails("create", "--as=jane", "-f-", stdin=own) == refusal
    nowhere = own.replace("root:provider", "root:nowhere")
    refused = bench.tenant.fails("create", "--as=jane", "-f-", stdin=nowhere)
    assert refused == refusal.replace("root:provider", "root:nowhere")
    bench.provider.apply(MAY_BIND)
    bench.provider("create", "clusterrolebinding", "bind", "--clusterrole=bind", "--user=jane")
    assert bench.tenant("create", "--as=jane", "-f-", stdin=own).endswith("created")
    bench.tenant("delete", "apibinding", "jane")


def test_everything_is_there_after_a_restart(bench: Bench) -> None:
    bench.tenant.apply(WIDGET % ("kept", 5))
    bench.provider("delete", "apiexport", "widgets")
    bench.provider("delete", "apiresourceschema", "v1.widgets.example.com")
    bench.plane.restart()
    assert bench.tenant.get("widget", "kept")["spec"]["size"] == 5
    bench.provider.apply(SCHEMA.replace("v1.", "v2.") + "---" + EXPORT.replace("v1.", "v2."))
    binding = bench.tenant.get("apibinding", "widgets")
    assert [one["schema"]["name"] for one in binding["status"]["boundResources"]] == [
        "v2.widgets.example.com"
    ]
    bench.tenant("delete", "apibinding", "widgets")
    assert "the server could not find" in bench.tenant.fails("get", "widgets")
