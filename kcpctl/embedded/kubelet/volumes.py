"""Volumes of a Pod as files of a private directory."""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from kcpctl.embedded.kubelet.fields import field_value
from kcpctl.embedded.security.private_file import write_private

__all__ = [
    "Missing",
    "PodSources",
    "config_data",
    "mount_paths",
    "remove_directory",
    "rewrite",
    "write_volumes",
]

Json = dict[str, Any]


class Missing(Exception):
    """A Secret, ConfigMap or key that a Pod needs does not exist; the message names it."""


class PodSources(Protocol):
    """Where the content of volumes and variables comes from."""

    def secret(self, name: str) -> Json | None:
        """Return a Secret of the Pod's namespace."""

    def config_map(self, name: str) -> Json | None:
        """Return a ConfigMap of the Pod's namespace."""

    def token(self, audience: str, expiration_seconds: int) -> str:
        """Return a token of the Pod's ServiceAccount that is good for a while longer."""


def config_data(sources: PodSources, kind: str, name: str, *, optional: bool) -> dict[str, bytes]:
    """Return the content of a Secret or ConfigMap; raises Missing."""
    obj = sources.secret(name) if kind == "secret" else sources.config_map(name)
    if obj is None:
        if optional:
            return {}
        raise Missing(f'{kind} "{name}" not found')
    encoded = obj.get("data") if kind == "secret" else obj.get("binaryData")
    data = {key: base64.b64decode(value) for key, value in (encoded or {}).items()}
    if kind != "secret":
        data.update({key: value.encode() for key, value in (obj.get("data") or {}).items()})
    return data


def _selected(
    data: Mapping[str, bytes], items: Sequence[Json] | None, what: str, *, optional: bool
) -> dict[str, bytes]:
    if not items:
        return dict(data)
    chosen = {}
    for item in items:
        if item["key"] in data:
            chosen[item["path"]] = data[item["key"]]
        elif not optional:
            raise Missing(f"{what} has no key {item['key']!r}")
    return chosen


def _source_files(pod: Json, source: Json, sources: PodSources) -> dict[str, bytes]:
    """Return the files of one volume source, as path and content."""
    for field, kind in (("secret", "secret"), ("configMap", "configmap")):
        if field in source:
            spec = source[field] or {}
            name = spec.get("secretName") or spec.get("name") or ""
            optional = bool(spec.get("optional"))
            data = config_data(sources, kind, name, optional=optional)
            what = f'{kind} "{name}"'
            return _selected(data, spec.get("items"), what, optional=optional)
    if "downwardAPI" in source:
        items = (source["downwardAPI"] or {}).get("items") or ()
        return {
            item["path"]: field_value(pod, item["fieldRef"]["fieldPath"]).encode()
            for item in items
            if item.get("fieldRef")
        }
    if "serviceAccountToken" in source:
        spec = source["serviceAccountToken"]
        seconds = int(spec.get("expirationSeconds") or 3600)
        return {spec["path"]: sources.token(spec.get("audience") or "", seconds).encode()}
    if "projected" in source:
        files: dict[str, bytes] = {}
        for part in (source["projected"] or {}).get("sources") or ():
            files.update(_source_files(pod, part, sources))
        return files
    return {}  # emptyDir, and whatever else is a directory to write to


def write_volumes(pod: Json, directory: Path, sources: PodSources) -> None:
    """Bring the files of every volume up to date below ``directory/<volume>``.

    A file whose content is what it was is not touched; a changed one is replaced in one step; one
    that is gone from its source is removed. Raises Missing before anything is written.
    """
    wanted = {
        volume["name"]: _source_files(pod, volume, sources)
        for volume in pod["spec"].get("volumes") or ()
    }
    managed = {
        volume["name"]
        for volume in pod["spec"].get("volumes") or ()
        if {"secret", "configMap", "projected", "downwardAPI"} & volume.keys()
    }
    for name, files in wanted.items():
        root = directory / name
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for relative, content in files.items():
            path = root / relative
            if ".." in path.parts or root not in path.parents:
                raise Missing(f"volume {name!r}: path {relative!r} leaves the volume")
            if not path.exists() or path.read_bytes() != content:
                write_private(path, content)
        if name in managed:
            _remove_others(root, {root / relative for relative in files})


def _remove_others(root: Path, keep: set[Path]) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir():
            with contextlib.suppress(OSError):
                path.rmdir()  # only when it is empty
        elif path not in keep:
            path.unlink(missing_ok=True)


def mount_paths(pod: Json, container: Json, directory: Path) -> dict[str, str]:
    """Return where each mount path of a container really is, longest path first."""
    volumes = {volume["name"] for volume in pod["spec"].get("volumes") or ()}
    found = {}
    for mount in container.get("volumeMounts") or ():
        if mount["name"] in volumes:
            target = directory / mount["name"]
            if mount.get("subPath"):
                target /= mount["subPath"]
            found[mount["mountPath"].rstrip("/")] = str(target)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def rewrite(text: str, paths: Mapping[str, str]) -> str:
    """Replace mount paths in an argument or variable by where the files really are."""
    if not paths:
        return text
    alternatives = "|".join(re.escape(path) for path in paths)
    pattern = rf"(?<![\w./-])(?:{alternatives})(?=/|$|[^\w.-])"
    return re.sub(pattern, lambda match: paths[match[0]], text)


def remove_directory(directory: Path) -> None:
    """Remove a Pod's files; what is gone already is no error."""
    shutil.rmtree(directory, ignore_errors=True)
