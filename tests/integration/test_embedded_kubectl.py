"""Stock kubectl against an ordinary embedded cluster with a kubelet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kcpctl.embedded.process import ControlPlaneProcess
from kcpctl.testing.certificates import signing_request

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


class Kubectl:
    """Runs kubectl with a private home."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self._env = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(home)}

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [KUBECTL or "kubectl", *args]
        return subprocess.run(
            command, env=self._env, capture_output=True, text=True, timeout=60, check=False
        )

    def __call__(self, *args: str) -> str:
        done = self.run(*args)
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
        return done.stdout.strip()

    def fails(self, *args: str) -> str:
        done = self.run(*args)
        assert done.returncode != 0, done.stdout
        return done.stderr.strip()


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    directory = tmp_path_factory.mktemp("cluster")
    with ControlPlaneProcess(directory, workspaces=False, kubelet=True) as process:
        yield Kubectl(process.kubeconfig, directory)


def test_who_has_no_rights_is_told_so(kubectl: Kubectl) -> None:
    assert kubectl.fails("get", "pods", "--as", "jane") == (
        'Error from server (Forbidden): pods is forbidden: User "jane" cannot list resource '
        '"pods" in API group "" in the namespace "default"'
    )
    done = kubectl.run("auth", "can-i", "list", "pods", "--as", "jane")
    assert (done.returncode, done.stdout.strip()) == (1, "no")


def test_a_token_that_lasts_too_short_is_refused(kubectl: Kubectl) -> None:
    assert kubectl.fails("create", "token", "default", "--duration=1s") == (
        'error: failed to create token: TokenRequest.authentication.k8s.io "" is invalid: '
        "spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes"
    )
    missing = kubectl.fails("create", "token", "nobody")
    assert missing.endswith('serviceaccounts "nobody" not found')


def test_rights_are_given_by_roles_and_bindings(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "bot")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    kubectl("create", "rolebinding", "rb", "--role=reader", "--serviceaccount=default:bot")
    bot = "system:serviceaccount:default:bot"
    assert kubectl("auth", "can-i", "list", "configmaps", "--as", bot) == "yes"
    listed = kubectl("auth", "can-i", "--list", "--as", bot)
    assert "configmaps" in listed
    assert kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}") == "admin"


def test_a_deployment_rolls_out_back_and_away(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=2")
    rolled = 'deployment "web" successfully rolled out'
    status = ("rollout", "status", "deployment/web", "--timeout=30s")
    assert kubectl(*status).endswith(rolled)
    kubectl("set", "image", "deployment/web", "nginx=nginx:2")
    assert kubectl(*status).endswith(rolled)
    kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=second")
    assert "2 second" in " ".join(kubectl("rollout", "history", "deployment/web").split())
    kubectl("rollout", "undo", "deployment/web")
    assert kubectl(*status).endswith(rolled)
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert kubectl("get", "deployment", "web", "-o", image) == "nginx:1"
    kubectl("scale", "deployment/web", "--replicas=3")
    assert kubectl(*status).endswith(rolled)
    assert "ScalingReplicaSet" in kubectl("describe", "deployment", "web")
    kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=30s")
    assert kubectl("get", "pods", "-o", "name") == ""


def test_a_namespace_goes_with_everything_in_it(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "t")
    kubectl("-n", "t", "create", "configmap", "c", "--from-literal=a=b")
    kubectl("-n", "t", "create", "deployment", "web", "--image=nginx")
    kubectl("-n", "t", "wait", "deployment/web", "--for=condition=Available", "--timeout=30s")
    kubectl("delete", "namespace", "t", "--timeout=30s")
    assert 'namespaces "t" not found' in kubectl.fails("get", "namespace", "t")


def test_a_cordoned_node_takes_no_pods_until_it_is_uncordoned(kubectl: Kubectl) -> None:
    kubectl("cordon", "local")
    kubectl("run", "p", "--image=nginx")
    timed_out = kubectl.fails("wait", "pod/p", "--for=condition=Ready", "--timeout=1s")
    assert "timed out waiting" in timed_out
    kubectl("uncordon", "local")
    kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=30s")
    kubectl("delete", "pod", "p", "--timeout=30s")


def test_what_needs_a_container_says_that_there_is_none(kubectl: Kubectl) -> None:
    kubectl("run", "idle", "--image=nginx")
    kubectl("wait", "pod/idle", "--for=condition=Ready", "--timeout=30s")
    assert kubectl("logs", "idle") == ""
    for command in (("exec", "idle", "--", "ls"), ("port-forward", "idle", ":80")):
        assert "the embedded cluster starts no containers" in kubectl.fails(*command)
    kubectl("delete", "pod", "idle", "--timeout=30s")


def test_a_syncer_pod_is_a_process_whose_output_are_its_logs(kubectl: Kubectl) -> None:
    image = "--image=kcpctl-syncer:local"
    kubectl("run", "s", image, "--restart=Never", "--", "syncer", "--no-such-flag")
    kubectl("wait", "pod/s", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s")
    assert "--no-such-flag" in kubectl("logs", "s")
    assert "--no-such-flag" in kubectl("logs", "s", "--tail=1", "-c", "s")
    code = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}"
    assert kubectl("get", "pod", "s", "-o", code) == "2"
    assert "not valid for pod" in kubectl.fails("logs", "s", "-c", "other")
    kubectl("delete", "pod", "s", "--timeout=30s")


def test_certificates_are_approved_and_denied(kubectl: Kubectl, tmp_path: Path) -> None:
    for name in ("yes", "no"):
        request, _ = signing_request(name, "jane", "dev", expirationSeconds=7200)
        (tmp_path / "csr.json").write_text(json.dumps(request))
        kubectl("create", "-f", str(tmp_path / "csr.json"))
    assert kubectl("get", "csr", "yes", "--no-headers").split()[2:] == [
        "kubernetes.io/kube-apiserver-client",
        "admin",
        "120m",
        "Pending",
    ]
    approved = "certificatesigningrequest.certificates.k8s.io/yes approved"
    assert kubectl("certificate", "approve", "yes") == approved
    kubectl("wait", "--for=jsonpath={.status.certificate}", "csr/yes", "--timeout=30s")
    assert kubectl("get", "csr", "yes", "--no-headers").split()[-1] == "Approved,Issued"
    kubectl("certificate", "deny", "no")
    assert kubectl("get", "csr", "no", "--no-headers").split()[-1] == "Denied"
    assert kubectl.fails("certificate", "approve", "no").endswith("is already Denied")
