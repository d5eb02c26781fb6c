from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import pytest

from kcpctl.embedded.kubelet.volumes import Missing, mount_paths, rewrite, write_volumes


class Sources:
    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.maps: dict[str, dict[str, str]] = {}

    def secret(self, name: str) -> Any:
        if name not in self.secrets:
            return None
        data = self.secrets[name].items()
        return {"data": {key: base64.b64encode(value).decode() for key, value in data}}

    def config_map(self, name: str) -> Any:
        if name not in self.maps:
            return None
        return {"data": self.maps[name], "binaryData": {"bin": base64.b64encode(b"\0").decode()}}

    def token(self, audience: str, expiration_seconds: int) -> str:
        return f"token for {audience or 'the server'}"


@pytest.fixture
def sources() -> Sources:
    found = Sources()
    found.secrets["creds"] = {"kubeconfig": b"one", "extra": b"x"}
    found.maps["conf"] = {"a": "1"}
    return found


def pod(*volumes: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "w"}}
    return {"metadata": metadata, "spec": {"volumes": list(volumes)}}


def test_a_missing_secret_is_named_and_nothing_is_written(sources: Sources, tmp_path: Path) -> None:
    target = tmp_path / "volumes"
    ours = pod({"name": "c", "configMap": {"name": "conf"}}, {"name": "s", "secret": {}})
    ours["spec"]["volumes"][1]["secret"] = {"secretName": "gone"}
    with pytest.raises(Missing, match='secret "gone" not found'):
        write_volumes(ours, target, sources)
    assert not target.exists()


def test_a_missing_key_is_named(sources: Sources, tmp_path: Path) -> None:
    items = [{"key": "nope", "path": "x"}]
    volume = {"name": "s", "secret": {"secretName": "creds", "items": items}}
    with pytest.raises(Missing, match="'nope'"):
        write_volumes(pod(volume), tmp_path, sources)


def test_a_path_that_leaves_the_volume_is_refused(sources: Sources, tmp_path: Path) -> None:
    items = [{"key": "extra", "path": "../../x"}]
    volume = {"name": "s", "secret": {"secretName": "creds", "items": items}}
    with pytest.raises(Missing, match="leaves the volume"):
        write_volumes(pod(volume), tmp_path, sources)


def test_what_is_optional_may_be_missing(sources: Sources, tmp_path: Path) -> None:
    volume = {"name": "s", "secret": {"secretName": "gone", "optional": True}}
    write_volumes(pod(volume), tmp_path, sources)
    assert list((tmp_path / "s").iterdir()) == []


def test_secrets_are_private_files(sources: Sources, tmp_path: Path) -> None:
    write_volumes(pod({"name": "s", "secret": {"secretName": "creds"}}), tmp_path, sources)
    path = tmp_path / "s" / "kubeconfig"
    assert path.read_bytes() == b"one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


def test_a_changed_secret_is_followed_and_an_equal_one_not_touched(
    sources: Sources, tmp_path: Path
) -> None:
    ours = pod({"name": "s", "secret": {"secretName": "creds"}})
    write_volumes(ours, tmp_path, sources)
    before = (tmp_path / "s" / "kubeconfig").stat().st_ino
    write_volumes(ours, tmp_path, sources)
    assert (tmp_path / "s" / "kubeconfig").stat().st_ino == before
    sources.secrets["creds"] = {"kubeconfig": b"two"}
    write_volumes(ours, tmp_path, sources)
    assert (tmp_path / "s" / "kubeconfig").read_bytes() == b"two"
    assert not (tmp_path / "s" / "extra").exists()


def test_what_a_process_writes_to_an_empty_dir_stays(sources: Sources, tmp_path: Path) -> None:
    ours = pod({"name": "e", "emptyDir": {}})
    write_volumes(ours, tmp_path, sources)
    (tmp_path / "e" / "cache").write_text("x")
    write_volumes(ours, tmp_path, sources)
    assert (tmp_path / "e" / "cache").exists()


def test_projected_volumes_are_one_directory(sources: Sources, tmp_path: Path) -> None:
    parts = [
        {"secret": {"name": "creds", "items": [{"key": "extra", "path": "deep/x"}]}},
        {"configMap": {"name": "conf"}},
        {
            "downwardAPI": {
                "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
            }
        },
        {"serviceAccountToken": {"path": "token", "audience": "vault"}},
    ]
    write_volumes(pod({"name": "p", "projected": {"sources": parts}}), tmp_path, sources)
    found = {
        str(path.relative_to(tmp_path / "p")): path.read_bytes()
        for path in (tmp_path / "p").rglob("*")
        if path.is_file()
    }
    assert found == {
        "deep/x": b"x",
        "a": b"1",
        "bin": b"\0",
        "labels": b'app="w"',
        "token": b"token for vault",
    }


def test_mount_paths_are_found_by_volume_and_sub_path() -> None:
    mounts = [
        {"name": "s", "mountPath": "/kcp/"},
        {"name": "s", "mountPath": "/kcp/one/file", "subPath": "file"},
        {"name": "not-there", "mountPath": "/x"},
    ]
    found = mount_paths(pod({"name": "s"}), {"volumeMounts": mounts}, Path("/private"))
    assert found == {"/kcp/one/file": "/private/s/file", "/kcp": "/private/s"}
    assert next(iter(found)) == "/kcp/one/file"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/kcp", "/p/s"),
        ("/kcp/kubeconfig", "/p/s/kubeconfig"),
        ("--from-kubeconfig=/kcp/kubeconfig", "--from-kubeconfig=/p/s/kubeconfig"),
        ("/kcp:/kcp/a", "/p/s:/p/s/a"),
        ("/kcpx", "/kcpx"),
        ("/kcp-2/a", "/kcp-2/a"),
        ("/etc/kcp/a", "/etc/kcp/a"),
        ("https://host/kcp/a", "https://host/kcp/a"),
    ],
)
def test_only_whole_mount_paths_are_rewritten(text: str, wanted: str) -> None:
    assert rewrite(text, {"/kcp": "/p/s"}) == wanted
    assert rewrite(text, {}) == text
