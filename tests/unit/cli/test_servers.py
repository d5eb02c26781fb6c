from __future__ import annotations

import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.cli.servers import (
    EmbeddedServers,
    ServerStartError,
    merge_kubeconfigs,
    write_kubeconfig,
)


def kubeconfig(server: str) -> dict[str, Any]:
    return {
        "clusters": [
            {"name": "other", "cluster": {"server": "https://other"}},
            {"name": "c", "cluster": {"server": server}},
        ],
        "users": [{"name": "u", "user": {"token": "t-" + server}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "current-context": "x",
    }


def test_each_part_becomes_a_context_of_its_name() -> None:
    merged = merge_kubeconfigs(
        {"root": kubeconfig("https://a"), "east": kubeconfig("https://b")}, "east"
    )
    assert merged["current-context"] == "east"
    assert [c["name"] for c in merged["contexts"]] == ["root", "east"]
    assert merged["contexts"][1]["context"] == {"cluster": "east", "user": "east", "namespace": "n"}
    assert merged["clusters"][1] == {"name": "east", "cluster": {"server": "https://b"}}
    assert merged["users"][0]["user"] == {"token": "t-https://a"}


def test_a_kubeconfig_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "kubeconfig"
    path.parent.mkdir()
    path.write_text("old")
    path.chmod(0o644)
    write_kubeconfig(path, {"kind": "Config"})
    assert yaml.safe_load(path.read_text()) == {"kind": "Config"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["kubeconfig"]


def test_a_directory_that_cannot_be_made_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    servers = EmbeddedServers(data_directory=tmp_path / "file")
    with closing(servers), pytest.raises(ServerStartError) as caught:
        servers.start()
    assert str(caught.value) == (
        f"the embedded server 'root' cannot write {tmp_path}/file/root: Not a directory; make room "
        "or give this user the right to write there, or name another directory with --data-dir"
    )
