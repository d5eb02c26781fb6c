from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kcpctl.client import ClientConfig
from kcpctl.errors import ConfigError, ConnectionRefused, UsageError
from kcpctl.logicalcluster import ClusterName
from kcpctl.runtime import IOLoop
from kcpctl.syncer import SyncerOptions, run_syncer
from kcpctl.syncer.program import _has_logical_clusters, _may_be_plain, _upstream_cluster
from kcpctl.testing.clock import FakeClock
from kcpctl.testing.transport import FakeTransport


@pytest.mark.parametrize(
    ("in_url", "flag", "prefix", "name"),
    [
        (None, "", "", "root"),
        (None, "root", "", "root"),
        (None, "root:demo", "/clusters/root:demo", "root:demo"),
        ("2f1m", "", "/clusters/2f1m", "2f1m"),
        ("2f1m", "root", "/clusters/2f1m", "2f1m"),
        ("root", "root:demo", "/clusters/root:demo", "root:demo"),
    ],
)
def test_the_upstream_logical_cluster(
    in_url: str | None, flag: str, prefix: str, name: str
) -> None:
    cluster = ClusterName(in_url) if in_url else None
    config = ClientConfig(server="https://up", cluster=cluster)
    assert _upstream_cluster(config, flag) == (prefix, name)


@pytest.mark.parametrize("flag", ["*", "Root", "a::b", "a/b"])
def test_what_cannot_be_one_logical_cluster_is_a_usage_error(flag: str) -> None:
    with pytest.raises(UsageError, match="--from-cluster"):
        _upstream_cluster(ClientConfig(server="https://up"), flag)


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    options = SyncerOptions(sync_target_name="east", sync_target_uid="u")
    missing = tmp_path / "no-such-file"
    with pytest.raises(ConfigError, match="no-such-file"):
        run_syncer(
            options,
            from_kubeconfig=missing,
            to_kubeconfig=missing,
            stop=threading.Event(),
            once=True,
        )


@pytest.mark.parametrize(
    ("in_url", "name", "may_be"),
    [
        (None, "prod", True),
        (None, "root", False),
        (None, "root:demo", False),
        ("2f1m", "2f1m", False),
    ],
)
def test_one_word_without_a_url_may_name_an_ordinary_server(
    in_url: str | None, name: str, may_be: bool
) -> None:
    cluster = ClusterName(in_url) if in_url else None
    assert _may_be_plain(ClientConfig(server="https://up", cluster=cluster), name) is may_be


@pytest.mark.parametrize(
    ("version", "kcp"), [("v1.33.3+kcp-v0.28.1", True), ("v1.36.3", False), ("v1.36.3+k3s1", False)]
)
def test_the_version_tells_a_kcp_from_an_ordinary_server(version: str, kcp: bool) -> None:
    transport = FakeTransport({"gitVersion": version})
    with IOLoop("test-io") as loop:
        asked = _has_logical_clusters(transport, loop, FakeClock(), threading.Event())
    assert asked is kcp


def test_a_server_that_does_not_answer_is_asked_again() -> None:
    class Impatient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return False

    refused = ConnectionRefused("nothing listens there")
    transport = FakeTransport(refused, refused, {"gitVersion": "v1.33.3+kcp-v0.28.1"})
    with IOLoop("test-io") as loop:
        assert _has_logical_clusters(transport, loop, FakeClock(), Impatient())
    assert len(transport.calls) == 3
