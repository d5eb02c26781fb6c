from __future__ import annotations

import pytest

from kcpctl.client.proxies import proxy_from_environment
from kcpctl.errors import ConfigError

PROXY = "http://proxy:3128"


def proxy(server: str, **environ: str) -> str:
    return proxy_from_environment(server, {"HTTPS_PROXY": PROXY, **environ})


@pytest.mark.parametrize(
    "server",
    ["https://localhost:6443", "https://127.0.0.1:1", "https://127.8.9.1", "https://[::1]:1"],
)
def test_loopback_is_never_proxied(server: str) -> None:
    assert proxy(server) == ""


def test_without_the_variable_there_is_none() -> None:
    assert proxy_from_environment("https://host", {"HTTP_PROXY": PROXY}) == ""


def test_the_variable_of_the_scheme_counts_in_either_case() -> None:
    assert proxy("https://host") == PROXY
    assert proxy_from_environment("https://host", {"https_proxy": PROXY}) == PROXY
    assert proxy_from_environment("http://host", {"HTTP_PROXY": PROXY}) == PROXY


@pytest.mark.parametrize(
    ("server", "exceptions", "proxied"),
    [
        ("https://api.corp.example", "corp.example", False),
        ("https://corp.example", "corp.example", False),
        ("https://notcorp.example", "corp.example", True),
        ("https://api.corp.example", ".corp.example", False),
        ("https://corp.example", ".corp.example", True),
        ("https://api.corp.example", "*.corp.example", False),
        ("https://api.corp.example", "other, API.corp.example", False),
        ("https://api.corp.example", "*", False),
        ("https://10.1.2.3", "10.0.0.0/8", False),
        ("https://11.1.2.3", "10.0.0.0/8", True),
        ("https://10.1.2.3", "10.1.2.3", False),
        ("https://10.1.2.3", "10.1.2.4", True),
        ("https://10.1.2.3:6443", "10.1.2.3:6443", False),
        ("https://[fd00::7]:6443", "fd00::/8", False),
        ("https://api.corp.example", "10.0.0.0/8", True),
        ("https://api.corp.example", "corp.example:443", False),
        ("https://api.corp.example:6443", "corp.example:443", True),
        ("https://api.corp.example", "not/a/network", True),
        ("https://api.corp.example", "", True),
    ],
)
def test_exceptions(server: str, exceptions: str, proxied: bool) -> None:
    assert bool(proxy(server, NO_PROXY=exceptions)) is proxied


def test_a_proxy_without_a_scheme_is_http() -> None:
    assert proxy("https://host", HTTPS_PROXY="proxy:3128") == PROXY


def test_a_proxy_that_cannot_be_used_is_named_by_its_variable() -> None:
    with pytest.raises(ConfigError, match=r"environment variable HTTPS_PROXY.*socks5"):
        proxy("https://host", HTTPS_PROXY="socks5://proxy:1")
