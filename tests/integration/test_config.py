"""What config/ ships: it renders, servers take it, and the flags in it exist."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.apis.resource import DEPLOYMENTS
from kcpctl.cli.run_controllers import command
from kcpctl.testing import ControlPlane
from kcpctl.testing.real import RealCluster, missing_binaries

CONFIG = Path(__file__).parents[2] / "config"

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")


@pytest.fixture(scope="module", params=["embedded", "real"])
def kubeconfig(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The kubeconfig of an ordinary cluster of its own, which will have CRDs."""
    if request.param == "embedded":
        with ControlPlane(workspaces=False) as plain:
            yield plain.kubeconfig
        return
    if missing := missing_binaries():
        pytest.skip(missing)
    with RealCluster() as real:
        yield real.kubeconfig


def apply(kubeconfig: Path, what: str) -> str:
    done = subprocess.run(
        [
            "kubectl",
            f"--kubeconfig={kubeconfig}",
            "apply",
            "--validate=strict",
            "-k",
            CONFIG / what,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_server_takes_everything_and_the_samples(kubeconfig: Path) -> None:
    said = apply(kubeconfig, "default")
    assert "deployment.apps/kcpctl-controllers created" in said
    wait = ["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]
    subprocess.run(["kubectl", f"--kubeconfig={kubeconfig}", *wait], check=True)
    assert "synctarget.workload.kcp.io/sample-managed created" in apply(kubeconfig, "samples")
    # Applying it again changes nothing. (kubectl writes a selector of this kind each time.)
    again = apply(kubeconfig, "default").splitlines()
    changed = [line for line in again if not line.endswith(" unchanged")]
    assert changed == ["poddisruptionbudget.policy/kcpctl-controllers configured"]


@pytest.mark.parametrize("directory", sorted(path.parent for path in CONFIG.glob("*/kustom*")))
def test_a_kustomization_names_each_file_beside_it(directory: Path) -> None:
    named = yaml.safe_load((directory / "kustomization.yaml").read_text())["resources"]
    there = [path.name for path in directory.glob("*.yaml") if path.name != "kustomization.yaml"]
    assert sorted(name for name in named if not name.startswith("..")) == sorted(there)


def test_the_manager_is_started_with_flags_that_exist() -> None:
    rendered = subprocess.run(
        ["kubectl", "kustomize", CONFIG / "default"], capture_output=True, text=True, check=True
    )
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(rendered.stdout))
    [deployment] = [one for one in objects if one["kind"] == DEPLOYMENTS.kind]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    name, *arguments = container["args"]

    context = command.make_context(name, list(arguments))

    assert context.params["leader_elect"]
    pod = deployment["spec"]["template"]["spec"]
    grace_seconds = pod["terminationGracePeriodSeconds"]
    assert context.params["graceful_shutdown_timeout"] < grace_seconds
