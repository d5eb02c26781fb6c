from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from kcpctl.embedded.kubelet.command import (
    SYNCER_IMAGE,
    arguments,
    environment,
    is_real,
    kcpctl_command,
)
from kcpctl.embedded.kubelet.fields import expand, field_value
from kcpctl.embedded.kubelet.volumes import Missing

POD: dict[str, Any] = {
    "metadata": {
        "name": "p",
        "namespace": "ns",
        "uid": "u",
        "labels": {"app": "w"},
        "annotations": {"a.b/c": "d"},
    },
    "spec": {"nodeName": "local", "volumes": [{"name": "s"}]},
    "status": {"podIP": "127.9.0.2"},
}


class Sources:
    def secret(self, name: str) -> Any:
        return {"data": {"password": "c2VjcmV0"}} if name == "creds" else None

    def config_map(self, name: str) -> Any:
        return {"data": {"k": "v"}} if name == "conf" else None

    def token(self, audience: str, expiration_seconds: int) -> str:
        return ""


@pytest.mark.parametrize(
    "container",
    [
        {"image": "nginx"},
        {"image": "nginx", "command": ["sh", "-c", "kcpctl"]},
        {"image": "x", "command": ["kcpctl", "run-controllers"]},
        {"image": "x", "args": ["syncer"]},
    ],
)
def test_other_containers_are_not_real(container: dict[str, Any]) -> None:
    assert not is_real(container)


@pytest.mark.parametrize(
    "container",
    [
        {"image": SYNCER_IMAGE, "args": ["syncer", "--once"]},
        {"image": SYNCER_IMAGE, "args": ["--once"]},
        {"image": SYNCER_IMAGE, "command": ["kcpctl"], "args": ["syncer", "--once"]},
        {"image": "x", "command": ["python", "-m", "kcpctl", "syncer", "--once"]},
        {"image": "x", "command": ["/usr/local/bin/kcpctl", "syncer"], "args": ["--once"]},
    ],
)
def test_a_syncer_is_real_however_it_is_spelt(container: dict[str, Any]) -> None:
    assert is_real(container)
    assert arguments(container) == ["syncer", "--once"]
    assert kcpctl_command(arguments(container))[:3] == [sys.executable, "-m", "kcpctl"]


def env(*entries: dict[str, Any], **container: Any) -> dict[str, str]:
    spec = {"env": list(entries), **container}
    own = {"PATH": "/bin", "KUBECONFIG": "/home/me/.kube/config", "KCPCTL_V": "1", "COV_X": "1"}
    return environment(POD, spec, Path("/private"), Sources(), {"HOME": "/h"}, own)


def test_nothing_of_the_servers_own_environment_gets_in_but_what_an_interpreter_needs() -> None:
    assert env() == {"PATH": "/bin", "COV_X": "1", "HOME": "/h"}


def test_a_missing_key_is_named() -> None:
    ref = {"secretKeyRef": {"name": "creds", "key": "nope"}}
    with pytest.raises(Missing, match="'nope'"):
        env({"name": "A", "valueFrom": ref})
    with pytest.raises(Missing, match='configmap "gone" not found'):
        env(envFrom=[{"configMapRef": {"name": "gone"}}])


def test_what_is_optional_is_left_out() -> None:
    ref = {"secretKeyRef": {"name": "gone", "key": "x", "optional": True}}
    assert "A" not in env({"name": "A", "valueFrom": ref})


def test_values_come_from_everywhere() -> None:
    found = env(
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "BIND", "value": "$(IP):8081 $$(IP) $(UNKNOWN)"},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "password"}}},
        {"name": "FILE", "value": "/kcp/kubeconfig"},
        {"name": "HOME", "value": "/elsewhere"},
        {"name": "EMPTY"},
        envFrom=[{"prefix": "C_", "configMapRef": {"name": "conf"}}],
        volumeMounts=[{"name": "s", "mountPath": "/kcp"}],
    )
    assert found["BIND"] == "127.9.0.2:8081 $(IP) $(UNKNOWN)"
    assert found["PASSWORD"] == "secret"
    assert found["FILE"] == "/private/s/kubeconfig"
    assert found["HOME"] == "/elsewhere"
    assert found["EMPTY"] == ""
    assert found["C_k"] == "v"


def test_an_unknown_field_path_is_refused() -> None:
    with pytest.raises(ValueError, match="not supported"):
        field_value(POD, "spec.hostNetwork")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "ns"),
        ("metadata.uid", "u"),
        ("spec.nodeName", "local"),
        ("spec.serviceAccountName", "default"),
        ("metadata.labels['app']", "w"),
        ("metadata.annotations['a.b/c']", "d"),
        ("metadata.annotations['gone']", ""),
        ("metadata.annotations", 'a.b/c="d"'),
    ],
)
def test_the_downward_api(path: str, value: str) -> None:
    assert field_value(POD, path) == value


def test_references_are_expanded_once() -> None:
    assert expand("$(A)", {"A": "$(B)", "B": "x"}) == "$(B)"
