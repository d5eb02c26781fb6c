"""Where kubeconfigs come from (decision 8)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kcpctl.apis.resource import SECRETS
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.client import config_from_kubeconfig
from kcpctl.reconcilers.credentials import Kubeconfig, Unusable

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World


def find(world: World, spec: dict[str, Any], workspace: str = "root") -> Kubeconfig:
    world.add_target(workspace=workspace, **spec)
    return world.reconciler._credentials.find(world.target(cluster=workspace), workspace)


def problem(world: World, spec: dict[str, Any]) -> Unusable:
    with pytest.raises(Unusable) as caught:
        find(world, spec)
    return caught.value


def add_secret(world: World, name: str, data: dict[str, str], namespace: str = "") -> None:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    world.add(SECRETS, name, namespace or "kcpctl-system", data=encoded)


def add_registration(world: World, **spec: Any) -> None:
    world.add(CLUSTER_REGISTRATIONS, "reg", spec={"location": "x", **spec})


def test_a_cluster_without_registration_is_the_secret_of_its_name(world: World) -> None:
    add_secret(world, "reg-kubeconfig", {"kubeconfig": "CONTENT"})
    found = find(world, {"cluster": "reg"})
    assert found.data == b"CONTENT"
    assert "Secret kcpctl-system/reg-kubeconfig in cluster 'root'" in found.source
    assert "CONTENT" not in repr(found)


def test_a_registration_wins_over_the_secret_of_its_name(world: World) -> None:
    add_secret(world, "reg-kubeconfig", {"kubeconfig": "WRONG"})
    add_secret(world, "other", {"config": "RIGHT"}, "elsewhere")
    reference = {"name": "other", "namespace": "elsewhere", "key": "config"}
    add_registration(world, kubeconfigSecret=reference)
    assert find(world, {"cluster": "reg"}).data == b"RIGHT"
    assert find(world, {"clusterRef": {"name": "reg"}}).data == b"RIGHT"


def test_a_connection_wins_over_a_cluster(world: World) -> None:
    add_secret(world, "own", {"kubeconfig": "OWN"})
    spec = {"cluster": "reg", "connection": {"kubeconfigSecretRef": {"name": "own"}}}
    assert find(world, spec).data == b"OWN"


def test_a_cluster_ref_never_falls_back_to_a_secret(world: World) -> None:
    add_secret(world, "reg-kubeconfig", {"kubeconfig": "WRONG"})
    error = problem(world, {"clusterRef": {"name": "reg"}})
    assert error.invalid
    assert error.problem.reason == "ClusterRefNotFound"


@pytest.mark.parametrize(
    "spec",
    [{"clusterRef": {"name": "reg", "workspace": "root:other"}}, {"cluster": "root:other:reg"}],
)
def test_another_workspace_is_refused(world: World, spec: dict[str, Any]) -> None:
    add_registration(world, kubeconfigSecret={"name": "x"})
    error = problem(world, spec)
    assert error.invalid
    assert error.problem.reason == "InvalidConfiguration"


def test_ones_own_workspace_may_be_named_by_path_or_name(workspaces: World) -> None:
    data = {"kubeconfig": base64.b64encode(b"RIGHT").decode()}
    workspaces.add(SECRETS, "s", "kcpctl-system", "abc", data=data)
    spec = {"location": "x", "kubeconfigSecret": {"name": "s"}}
    workspaces.add(CLUSTER_REGISTRATIONS, "reg", cluster="abc", spec=spec)
    reference = {"clusterRef": {"name": "reg", "workspace": "abc"}}
    assert find(workspaces, reference, "abc").data == b"RIGHT"


def test_a_secret_of_another_workspace_is_not_found(workspaces: World) -> None:
    data = {"kubeconfig": base64.b64encode(b"WRONG").decode()}
    workspaces.add(SECRETS, "east-kubeconfig", "kcpctl-system", "one", data=data)
    with pytest.raises(Unusable, match="in cluster 'two' does not exist"):
        find(workspaces, {"cluster": "east"}, "two")


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        ({}, "CredentialsMissing", 'has no key "kubeconfig"'),
        ({"kubeconfig": ""}, "CredentialsMissing", "is empty"),
        ({"kubeconfig": " \n"}, "CredentialsMissing", "is empty"),
    ],
)
def test_a_secret_without_content_is_named_with_its_key(
    world: World, data: dict[str, str], reason: str, words: str
) -> None:
    add_secret(world, "reg-kubeconfig", data)
    found = problem(world, {"cluster": "reg"}).problem
    assert found.reason == reason
    assert words in found.message
    assert "Secret kcpctl-system/reg-kubeconfig" in found.message


def test_a_secret_that_may_only_not_be_shown_comes_with_what_to_accept(world: World) -> None:
    world.hints["root", "secrets"] = "accept the permission claim on secrets"
    assert problem(world, {"cluster": "east"}).problem.message == (
        "Secret kcpctl-system/east-kubeconfig in cluster 'root' does not exist, or is not shown to "
        "the controllers: accept the permission claim on secrets"
    )


def test_data_that_is_not_base64_is_said_without_quoting_it(world: World) -> None:
    world.add(SECRETS, "reg-kubeconfig", "kcpctl-system", data={"kubeconfig": "s3cret!"})
    found = problem(world, {"cluster": "reg"}).problem
    assert found.reason == "InvalidConfiguration"
    assert "s3cret" not in found.message


def test_a_token_that_is_not_text_is_said(world: World) -> None:
    data = {"token": base64.b64encode(b"\xff\xfe").decode()}
    world.add(SECRETS, "t", "kcpctl-system", data=data)
    endpoint = {"serverURL": "https://east:6443", "credentialsSecret": {"name": "t"}}
    add_registration(world, clusterEndpoint=endpoint)
    found = problem(world, {"clusterRef": {"name": "reg"}}).problem
    assert found.reason == "InvalidConfiguration"
    assert found.message == "key \"token\" of Secret kcpctl-system/t in cluster 'root' is not text"


def test_an_endpoint_with_a_token_becomes_a_kubeconfig(world: World) -> None:
    add_secret(world, "cred", {"token": "TOKEN\n"})
    endpoint = {"serverURL": "https://c:6443", "credentialsSecret": {"name": "cred"}}
    add_registration(world, clusterEndpoint=endpoint)
    found = find(world, {"cluster": "reg"})
    config = config_from_kubeconfig(found.data, source=found.source)
    assert (config.server, config.token) == ("https://c:6443", "TOKEN")
    assert "ClusterRegistration 'reg'" in found.source


def test_an_inline_connection_with_a_certificate_becomes_a_kubeconfig(world: World) -> None:
    add_secret(world, "cred", {"tls.crt": "CERT", "tls.key": "KEY"})
    spec = {
        "connection": {
            "server": "https://c:6443",
            "serverName": "kube",
            "insecureSkipTLSVerify": True,
            "proxyURL": "http://proxy",
        },
        "credentials": {"type": "certificate", "secretRef": {"name": "cred"}},
    }
    config = yaml.safe_load(find(world, spec).data)
    assert config["clusters"][0]["cluster"] == {
        "server": "https://c:6443",
        "tls-server-name": "kube",
        "insecure-skip-tls-verify": True,
        "proxy-url": "http://proxy",
    }
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_credentials_of_type_kubeconfig_are_the_whole_story(world: World) -> None:
    add_secret(world, "cred", {"kubeconfig": "WHOLE"})
    spec = {"connection": {"server": "https://c"}, "credentials": {"secretRef": {"name": "cred"}}}
    assert find(world, spec).data == b"WHOLE"


def test_a_secret_with_neither_token_nor_certificate_is_missing_credentials(world: World) -> None:
    add_secret(world, "cred", {"password": "x"})
    endpoint = {"serverURL": "https://c:6443", "credentialsSecret": {"name": "cred"}}
    add_registration(world, clusterEndpoint=endpoint)
    found = problem(world, {"cluster": "reg"}).problem
    assert found.reason == "CredentialsMissing"
    assert "tls.crt" in found.message


def test_a_connection_that_says_nothing_is_named(world: World) -> None:
    found = problem(world, {"connection": {}}).problem
    assert found.reason == "InvalidConfiguration"


def test_a_registration_that_says_nothing_is_named(world: World) -> None:
    add_registration(world)
    found = problem(world, {"cluster": "reg"}).problem
    assert found.reason == "InvalidConfiguration"
    assert "'reg'" in found.message


def test_a_registration_that_cannot_be_read_is_named(world: World) -> None:
    world.add(CLUSTER_REGISTRATIONS, "reg", spec={"location": 1})
    found = problem(world, {"cluster": "reg"}).problem
    assert found.reason == "InvalidConfiguration"
    assert "ClusterRegistration 'reg'" in found.message
