"""How endpoints are reached, and what is said when that fails."""

from __future__ import annotations

import pytest

from kcpctl.apis.kcp import ExportReference
from kcpctl.client import ClientConfig
from kcpctl.errors import ConfigError, Forbidden, NotFound, TransportError
from kcpctl.manager.fleet import explain
from kcpctl.manager.fleet.endpoint import config_for

EXPORT = ExportReference(path="root:provider", name="export")
CONFIG = ClientConfig(
    server="https://kcp:6443", token="t", ca=b"ca", server_name="kcp.example", cluster=None
)


def test_an_endpoint_gets_the_same_credentials_and_ca() -> None:
    made = config_for(CONFIG, "https://shard:6443/services/apiexport/c/e/")
    assert made.server == "https://shard:6443/services/apiexport/c/e"
    assert (made.token, made.ca) == ("t", b"ca")
    assert made.server_name == ""


def test_the_name_on_the_certificate_holds_for_the_same_server() -> None:
    made = config_for(CONFIG, "https://kcp:6443/services/apiexport/c/e")
    assert made.server_name == "kcp.example"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://kcp:6443/services/x", "not encrypted"),
        ("https://kcp:6443/services/x/clusters/a", "ends with a logical cluster"),
        ("ftp://x", "is not a URL"),
        ("https://user:pass@kcp/services", "has a user"),
    ],
)
def test_what_is_no_endpoint_is_refused(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config_for(CONFIG, url)


def test_without_encryption_there_is_none_to_lose() -> None:
    plain = ClientConfig(server="http://kcp:6443")
    assert (
        config_for(plain, "http://shard:6443/services/x").server == "http://shard:6443/services/x"
    )


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Forbidden("no"), "apiexports/content named 'export', both in root:provider"),
        (NotFound("no", request="GET .../apiexportendpointslices"), "is this a kcp"),
        (NotFound("no", request="GET .../apibindings"), "published before it serves"),
        (TransportError("refused"), "refused"),
        (TransportError(), "TransportError"),
    ],
)
def test_an_error_comes_with_the_way_out(error: Exception, says: str) -> None:
    assert says in explain(error, EXPORT)
