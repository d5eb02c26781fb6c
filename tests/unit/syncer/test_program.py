from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kcpctl.client import ClientConfig
from kcpctl.errors import ConfigError, UsageError
from kcpctl.logicalcluster import ClusterName
from kcpctl.syncer import SyncerOptions, run_syncer
from kcpctl.syncer.program import _upstream_cluster


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
