"""Kubeconfigs: what is read, and one clear sentence for what cannot be."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.client import ClientConfig, config_from_kubeconfig, load_config
from kcpctl.errors import ConfigError
from kcpctl.testing.certificates import CertificateAuthority

NOWHERE: Mapping[str, str] = {"HOME": "/nonexistent"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def kubeconfig(
    *,
    cluster: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
    current: str = "main",
    **more: Any,
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "clusters": [{"name": "c", "cluster": {"server": "https://host:6443", **(cluster or {})}}],
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": user if user is not None else {"token": "s3cret"}}],
        **more,
    }


def dump(document: object) -> bytes:
    return yaml.safe_dump(document).encode()


def read(document: object, **more: Any) -> ClientConfig:
    return config_from_kubeconfig(dump(document), source="Secret kube/east", **more)


def problem(document: object, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(document, **more)
    message = str(caught.value)
    assert message.startswith("Secret kube/east")
    assert "\n" not in message
    return message


# Bytes that are no kubeconfig.


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"a: [s3cret\nb: }", "is not YAML at line"),
        (b"just words", "but plain text"),
        (b"- a\n- b", "but a list"),
        (b"42", "but int"),
        (b"kind: Secret\ndata: {token: s3cret}", "but Secret; kind must be Config"),
        (b"a: 1", "nothing with clusters"),
        (b"clusters: 5", "clusters must be a list, not int"),
        (b"clusters: [5]", r"clusters[0] has no name"),
        (b"users: [{name: a, user: s3cret}]", "users[0].user must be a mapping"),
    ],
)
def test_bytes_that_are_no_kubeconfig_are_named(data: bytes, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_kubeconfig(data, source="Secret kube/east")
    assert says in str(caught.value)
    assert "Secret kube/east" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


# Contexts, clusters, users that do not fit together.


def test_without_a_current_context_the_choices_are_named() -> None:
    assert "choose a context with --context (it has main)" in problem(kubeconfig(current=""))


def test_an_unknown_context_is_named_with_the_known_ones() -> None:
    assert "has no context 'other'; it has main" in problem(kubeconfig(), context="other")


def test_no_contexts_at_all() -> None:
    assert "has no context 'main'; it has none" in problem(kubeconfig(contexts=[]))


def test_no_clusters_at_all() -> None:
    assert "names cluster 'c', but there are no clusters" in problem(kubeconfig(clusters=None))


def test_an_unknown_cluster_is_named() -> None:
    wrong = kubeconfig(contexts=[{"name": "main", "context": {"cluster": "x"}}])
    assert "names cluster 'x', but there is only c" in problem(wrong)


def test_a_context_without_a_cluster() -> None:
    assert "names no cluster" in problem(kubeconfig(contexts=[{"name": "main"}]))


def test_an_unknown_user_is_named() -> None:
    assert "names user 'u', but there is only v" in problem(
        kubeconfig(users=[{"name": "v", "user": {}}])
    )


def test_a_context_without_a_user_is_anonymous() -> None:
    config = read(kubeconfig(contexts=[{"name": "main", "context": {"cluster": "c"}}]))
    assert config.token == ""


# Servers.


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 5000, id="deep"),
        pytest.param("a: 1" + "0" * 5000, id="an integer that is too long for int()"),
        "a: 2021-13-45",
        "a: !!float s3cret",
        "a: !!timestamp s3cret",
        "!!python/object/apply:os.system [id]",
    ],
)
def test_whatever_the_yaml_loader_stumbles_over_is_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^Secret kube/east is not YAML") as caught:
        config_from_kubeconfig(text.encode(), source="Secret kube/east")
    assert "s3cret" not in str(caught.value)


def test_a_kubeconfig_from_elsewhere_must_not_be_long() -> None:
    data = dump(kubeconfig()) + b"#" * 262_144
    with pytest.raises(ConfigError, match="longer than 256 KiB"):
        config_from_kubeconfig(data, source="Secret kube/east")


def test_two_entries_of_one_name_are_refused() -> None:
    document = kubeconfig()
    document["clusters"] *= 2
    assert "clusters has two of the name 'c'" in problem(document)


@pytest.mark.parametrize(
    "user",
    [
        {"token": ["s3cret"]},
        {"token": "s3cret\nX-Evil: 1"},
        {"username": {"a": "s3cret"}},
        {"exec": "s3cret"},
        {"token": "t", "as": "a\r\nb"},
        {"token": "t", "as": "a", "as-groups": 5},
        {"token": "t", "as": "a", "as-user-extra": ["x"]},
        {"token": "t", "as": "a", "as-user-extra": {"x": "y"}},
        {"client-certificate-data": "\u00e9", "client-key-data": "\u00e9"},
    ],
)
def test_values_of_the_wrong_shape_are_named_and_not_shown(user: dict[str, Any]) -> None:
    assert "s3cret" not in problem(kubeconfig(user=user))


@pytest.mark.parametrize(
    "url",
    [
        *("", "host:6443", "ftp://host", "https://", "https://host:port", "https://["),
        *("https://[zz]:1", "https://a\u2100b:1", "https://a b", "https://a..b"),
        "https://" + "a" * 64,
    ],
)
def test_a_server_that_is_no_url_is_named(url: str) -> None:
    assert f"server {url!r} is not a URL" in problem(kubeconfig(cluster={"server": url}))


@pytest.mark.parametrize("url", ["http://[", "http://host:99999", "http://me:s3cret@["])
def test_a_proxy_that_is_no_url_is_refused_and_not_shown(url: str) -> None:
    message = problem(kubeconfig(cluster={"proxy-url": url}))
    assert "the proxy is not a URL" in message
    assert "s3cret" not in message


def test_credentials_in_the_url_are_refused_and_not_shown() -> None:
    for host in ("host", "host:port"):
        message = problem(kubeconfig(cluster={"server": f"https://me:s3cret@{host}"}))
        assert "s3cret" not in message


def test_a_logical_cluster_at_the_end_of_the_url_is_cut_off() -> None:
    config = read(kubeconfig(cluster={"server": "https://host:6443/clusters/root:demo/"}))
    assert (config.server, config.cluster) == ("https://host:6443", "root:demo")


def test_a_path_in_front_of_the_logical_cluster_stays() -> None:
    url = "https://host/services/apiexport/root/tenancy/clusters/*"
    config = read(kubeconfig(cluster={"server": url}))
    assert config.server == "https://host/services/apiexport/root/tenancy"
    assert config.cluster == "*"


def test_a_logical_cluster_that_is_none_is_named() -> None:
    assert "'Root' in the server URL" in problem(
        kubeconfig(cluster={"server": "https://host/clusters/Root"})
    )


# Certificates.


def test_certificates_and_keys_are_read_from_data(authority: CertificateAuthority) -> None:
    cert, key = authority.issue("me")
    config = read(
        kubeconfig(
            cluster={"certificate-authority-data": b64(authority.pem), "tls-server-name": "api"},
            user={"client-certificate-data": b64(cert), "client-key-data": b64(key)},
        )
    )
    assert (config.ca, config.client_cert, config.client_key) == (authority.pem, cert, key)
    assert config.server_name == "api"


def test_bad_base64_is_named() -> None:
    assert "certificate-authority-data is not base64" in problem(
        kubeconfig(cluster={"certificate-authority-data": "%%%"})
    )


def test_a_ca_that_is_no_pem_is_named() -> None:
    assert "certificate authority is not a PEM certificate" in problem(
        kubeconfig(cluster={"certificate-authority-data": b64(b"garbage")})
    )


def test_a_certificate_that_is_no_pem_is_named() -> None:
    user = {"client-certificate-data": b64(b"garbage"), "client-key-data": b64(b"s3cret")}
    message = problem(kubeconfig(user=user))
    assert "client certificate and key cannot be used" in message
    assert "s3cret" not in message


def test_a_key_that_is_not_the_certificates_is_named(authority: CertificateAuthority) -> None:
    (cert, _), (_, key) = authority.issue("me"), authority.issue("you")
    user = {"client-certificate-data": b64(cert), "client-key-data": b64(key)}
    assert "key values mismatch" in problem(kubeconfig(user=user))


@pytest.mark.parametrize("there", ["client-certificate", "client-key"])
def test_a_certificate_without_key_and_a_key_without_certificate(
    authority: CertificateAuthority, there: str
) -> None:
    cert, key = authority.issue("me")
    data = cert if there == "client-certificate" else key
    assert "both are needed" in problem(kubeconfig(user={f"{there}-data": b64(data)}))


def test_a_ca_together_with_insecure_is_refused(authority: CertificateAuthority) -> None:
    cluster = {
        "certificate-authority-data": b64(authority.pem),
        "insecure-skip-tls-verify": True,
    }
    assert "remove one of the two" in problem(kubeconfig(cluster=cluster))


def test_insecure_is_read() -> None:
    assert read(kubeconfig(cluster={"insecure-skip-tls-verify": True})).insecure


def test_no_temporary_file_is_left_with_a_secret(
    authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cert, key = authority.issue("me")
    read(
        kubeconfig(
            cluster={"certificate-authority-data": b64(authority.pem)},
            user={"client-certificate-data": b64(cert), "client-key-data": b64(key)},
        )
    )
    assert list(tmp_path.iterdir()) == []


# What kubeconfigs from elsewhere may not do.


@pytest.mark.parametrize("allowed", [["other"], [], ["/bin/touch"], ["./touch"]])
def test_a_plugin_that_is_not_on_the_list_is_refused(allowed: list[str], tmp_path: Path) -> None:
    """AU-09: by its command as it is written, so that a path cannot pass for a name."""
    plugin = {"command": "touch", "args": [str(tmp_path / "ran")]}
    message = problem(kubeconfig(user={"exec": plugin}), allow_exec=allowed)
    assert "runs the credential plugin 'touch', which is not one of those allowed" in message
    file = tmp_path / "kubeconfig"
    file.write_bytes(dump(kubeconfig(user={"exec": plugin})))
    with pytest.raises(ConfigError, match="not one of those allowed"):
        load_config(file, allow_exec=allowed)
    assert load_config(file, allow_exec=[*allowed, "touch"]).exec_plugin is not None
    assert not (tmp_path / "ran").exists()


def test_a_plugin_is_refused_and_not_run(tmp_path: Path) -> None:
    """AU-09: the default for kubeconfigs from elsewhere."""
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch"}
    plugin["args"] = [str(tmp_path / "ran")]  # type: ignore[assignment]
    assert "runs a credential plugin (exec)" in problem(kubeconfig(user={"exec": plugin}))
    assert not (tmp_path / "ran").exists()


def test_a_plugin_is_kept_but_not_run_where_it_is_allowed(tmp_path: Path) -> None:
    plugin = {"command": "touch", "args": [str(tmp_path / "ran")]}
    config = read(kubeconfig(user={"exec": plugin}), allow_exec=True)
    assert config.exec_plugin is not None
    assert config.exec_plugin.command == "touch"
    assert not (tmp_path / "ran").exists()


def test_an_auth_provider_is_refused_everywhere() -> None:
    user = {"auth-provider": {"name": "gcp", "config": {"cmd-path": "touch"}}}
    assert "auth-provider" in problem(kubeconfig(user=user), allow_exec=True)


@pytest.mark.parametrize("key", ["tokenFile", "client-certificate"])
def test_a_kubeconfig_from_elsewhere_must_not_name_our_files(key: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("our own token")
    message = problem(kubeconfig(user={key: str(tmp_path / "token")}))
    assert f"names files ({key})" in message


# Identities.


def test_a_user_with_a_password_and_impersonation() -> None:
    user = {
        "username": "me",
        "password": "s3cret",
        "as": "you",
        "as-uid": "7",
        "as-groups": ["a", "b"],
        "as-user-extra": {"scopes": ["x", "y"]},
    }
    config = read(kubeconfig(user=user))
    assert (config.username, config.password) == ("me", "s3cret")
    assert config.impersonate is not None
    assert config.impersonate.user == "you"
    assert config.impersonate.groups == ("a", "b")
    assert config.impersonate.extra == (("scopes", ("x", "y")),)


def test_the_representation_shows_no_secret(authority: CertificateAuthority) -> None:
    """RC-21."""
    cert, key = authority.issue("me")
    user = {"token": "s3cret", "client-certificate-data": b64(cert), "client-key-data": b64(key)}
    config = read(kubeconfig(user=user))
    assert "s3cret" not in repr(config)
    assert "PRIVATE KEY" not in repr(config)


def test_equal_kubeconfigs_give_equal_configurations() -> None:
    one = config_from_kubeconfig(dump(kubeconfig()), source="Secret a")
    other = config_from_kubeconfig(dump(kubeconfig()), source="Secret b")
    assert one == other
    assert hash(one) == hash(other)


def test_the_contexts_namespace_is_the_default_one() -> None:
    context = {"cluster": "c", "user": "u", "namespace": "apps"}
    config = read(kubeconfig(contexts=[{"name": "main", "context": context}]))
    assert config.default_namespace == "apps"


def test_a_socks_proxy_is_refused() -> None:
    assert "give an http:// or https:// URL" in problem(
        kubeconfig(cluster={"proxy-url": "socks5://host:1"})
    )


def test_a_proxy_url_is_taken() -> None:
    assert read(kubeconfig(cluster={"proxy-url": "http://p:3128"})).proxy_url == "http://p:3128"


# Files.


def write(path: Path, document: object) -> Path:
    path.write_bytes(dump(document))
    return path


def file_problem(path: Path, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ=NOWHERE, **more)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "does not exist" in file_problem(tmp_path / "none")


def test_a_directory_is_named(tmp_path: Path) -> None:
    assert "is a directory" in file_problem(tmp_path)


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "cannot be read (Permission denied)" in file_problem(tmp_path / "config")


def test_relative_paths_count_from_the_kubeconfig(
    tmp_path: Path, authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_bytes(authority.pem)
    (tmp_path / "token").write_text("t\n")
    document = kubeconfig(
        cluster={"certificate-authority": "pki/ca.crt"}, user={"tokenFile": "token"}
    )
    monkeypatch.chdir("/")
    config = load_config(write(tmp_path / "config", document), environ=NOWHERE)
    assert config.ca == authority.pem
    assert config.token_file == tmp_path / "token"


@pytest.mark.parametrize(
    ("part", "key"), [("cluster", "certificate-authority"), ("user", "tokenFile")]
)
def test_a_named_file_that_is_missing_is_named(tmp_path: Path, part: str, key: str) -> None:
    gone = {key: "gone"}
    document = kubeconfig(cluster=gone) if part == "cluster" else kubeconfig(user=gone)
    message = file_problem(write(tmp_path / "config", document))
    assert f"{key} {tmp_path / 'gone'} cannot be read" in message


def test_a_ca_file_that_is_binary_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.der").write_bytes(b"\x30\x82\xff\xfe")
    document = kubeconfig(cluster={"certificate-authority": "ca.der"})
    assert "certificate-authority is not PEM" in file_problem(write(tmp_path / "config", document))


def test_data_wins_over_a_file(tmp_path: Path, authority: CertificateAuthority) -> None:
    document = kubeconfig(
        cluster={
            "certificate-authority": "gone",
            "certificate-authority-data": b64(authority.pem),
        }
    )
    assert load_config(write(tmp_path / "config", document), environ=NOWHERE).ca == authority.pem


def test_a_context_is_chosen(tmp_path: Path) -> None:
    document = kubeconfig()
    document["clusters"].append({"name": "d", "cluster": {"server": "https://other"}})
    document["contexts"].append({"name": "second", "context": {"cluster": "d", "user": "u"}})
    path = write(tmp_path / "config", document)
    assert load_config(path, "second", environ=NOWHERE).server == "https://other"
    assert load_config(path, environ=NOWHERE).server == "https://host:6443"


def test_a_path_with_a_colon_is_one_path(tmp_path: Path) -> None:
    path = write(tmp_path / "root:demo.kubeconfig", kubeconfig())
    assert load_config(path, environ=NOWHERE).token == "s3cret"


# Where they are looked for.


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "config", kubeconfig())
    assert load_config(environ={"KUBECONFIG": str(path)}).token == "s3cret"


def test_several_files_are_merged_and_missing_ones_skipped(tmp_path: Path) -> None:
    first = kubeconfig(clusters=[], users=[])
    second = kubeconfig(cluster={"certificate-authority": "ca"}, current="x")
    del second["clusters"][0]["cluster"]["certificate-authority"]
    second["users"][0]["user"] = {"tokenFile": "token"}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "token").write_text("t")
    files = [write(tmp_path / "a", first), tmp_path / "none", write(tmp_path / "b" / "c", second)]
    config = load_config(environ={"KUBECONFIG": ":".join(map(str, files))})
    assert config.server == "https://host:6443"
    assert config.token_file == tmp_path / "b" / "token"


def test_when_all_listed_files_are_missing_the_first_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}/a does not exist"):
        load_config(environ={"KUBECONFIG": f"{tmp_path}/a:{tmp_path}/b"})


def test_the_home_directory_comes_next(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config", kubeconfig())
    assert load_config(environ={"HOME": str(tmp_path)}).token == "s3cret"


def test_without_any_the_way_out_is_said() -> None:
    with pytest.raises(ConfigError, match="name one with --kubeconfig"):
        load_config(environ=NOWHERE)


def test_in_a_pod_the_service_account_is_used(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    (tmp_path / "namespace").write_text("apps\n")
    config = load_config(
        environ={
            **NOWHERE,
            "KUBERNETES_SERVICE_HOST": "fd00::1",
            "KUBERNETES_SERVICE_PORT": "443",
        },
        service_account=tmp_path,
    )
    assert config.server == "https://[fd00::1]:443"
    assert config.token_file == tmp_path / "token"
    assert config.ca == authority.pem
    assert config.default_namespace == "apps"


def test_in_a_pod_without_a_token_the_cause_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is it mounted"):
        load_config(
            environ={**NOWHERE, "KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "1"},
            service_account=tmp_path,
        )


def test_importing_the_client_does_not_import_the_kubernetes_package() -> None:
    code = "import sys, kcpctl.client; print('kubernetes' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


def test_a_user_without_credentials_is_anonymous() -> None:
    config = read(kubeconfig(user={}))
    assert (config.token, config.username, config.client_cert) == ("", "", None)


@pytest.mark.parametrize("flow", [False, True], ids=["JSON", "YAML that begins as JSON does"])
def test_a_kubeconfig_may_be_json(flow: bool) -> None:
    text = json.dumps(kubeconfig())
    if flow:
        text = text.replace('"apiVersion"', "# a remark\n apiVersion").replace('"Config"', "Config")
    found = config_from_kubeconfig(text.encode(), source="Secret kube/east")
    assert found == read(kubeconfig())
