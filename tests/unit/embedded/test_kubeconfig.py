from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.kubeconfig import Context, encode_kubeconfig, kubeconfig, write_kubeconfig
from kcpctl.embedded.security.ca import KeyPair

URL = "https://127.0.0.1:6443"


def test_the_first_context_is_the_current_one() -> None:
    contexts = [Context("root:demo", f"{URL}/clusters/root:demo"), Context("root", URL)]
    config = kubeconfig(contexts, ca_pem=b"ca", client=KeyPair(b"cert", b"key"))
    assert config["current-context"] == "root:demo"
    assert [entry["cluster"]["server"] for entry in config["clusters"]] == [
        f"{URL}/clusters/root:demo",
        URL,
    ]
    assert config["users"][0]["user"] == {
        "client-certificate-data": "Y2VydA==",
        "client-key-data": "a2V5",
    }


def test_without_contexts_there_is_no_current_one() -> None:
    assert kubeconfig([], ca_pem=b"ca")["current-context"] == ""


def test_the_server_stands_on_a_line_of_its_own_for_whoever_reads_lines(tmp_path: Path) -> None:
    config = kubeconfig([Context("root", URL)], ca_pem=b"ca", token_file="/x/token")
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, config)
    assert f"    server: {URL}" in path.read_text().splitlines()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["yes", "123", "", "a: b", "- x", "#", "é", "null", "x ", "1e3"])
def test_names_that_yaml_would_misread_are_quoted(name: str) -> None:
    config = kubeconfig([Context(name, URL, namespace=name or "x")], ca_pem=b"ca")
    assert yaml.safe_load(encode_kubeconfig(config)) == config


texts = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=20)


@given(name=texts, token=texts, ca=st.binary(max_size=40))
def test_every_kubeconfig_is_read_back_as_it_was(name: str, token: str, ca: bytes) -> None:
    config = kubeconfig([Context(name, URL), Context("b", URL)], ca_pem=ca, token_file=token)
    assert yaml.safe_load(encode_kubeconfig(config)) == config
