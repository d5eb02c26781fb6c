"""Which containers are real, and the process that each becomes. Pure functions."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kcpctl.embedded.kubelet.fields import expand, field_value
from kcpctl.embedded.kubelet.volumes import (
    Missing,
    PodSources,
    config_data,
    mount_paths,
    rewrite,
)

__all__ = ["SYNCER_IMAGE", "arguments", "environment", "is_real", "kcpctl_command"]

Json = dict[str, Any]
SYNCER_IMAGE: Final = "kcpctl-syncer:local"
_INHERITED: Final = (
    # What an interpreter needs to start. Nothing else of the server's own environment reaches a
    # container: a KUBECONFIG in there would be somebody's real cluster.
    "LANG",
    "LC_ALL",
    "PATH",
    "PYTHONPATH",
    "TMPDIR",
    "VIRTUAL_ENV",
)
_INHERITED_PREFIX: Final = "COV"  # coverage measures child processes by COVERAGE_* and COV_*


def _words(container: Json) -> list[str]:
    return [*(container.get("command") or ()), *(container.get("args") or ())]


def is_real(container: Json) -> bool:
    """Whether a container is a kcpctl process rather than a pretence."""
    if container.get("image") == SYNCER_IMAGE:
        return True
    words = [os.path.basename(word) for word in _words(container)]
    return any(pair == ("kcpctl", "syncer") for pair in itertools.pairwise(words))


def kcpctl_command(words: Sequence[str]) -> list[str]:
    """Return the command line for ``kcpctl WORDS`` with this interpreter."""
    return [sys.executable, "-m", "kcpctl", *words]


def arguments(container: Json) -> list[str]:
    """Return what follows ``kcpctl`` in a real container's command and args.

    The interpreter and ``-m kcpctl`` before it are dropped, and the subcommand is put in where
    the image's entry point has it.
    """
    words = _words(container)
    for index, word in enumerate(words):
        if os.path.basename(word) == "kcpctl":
            words = words[index + 1 :]
            break
    return words if words[:1] == ["syncer"] else ["syncer", *words]


def environment(
    pod: Json,
    container: Json,
    directory: Path,
    sources: PodSources,
    extra: Mapping[str, str],
    server_environment: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the whole environment of a real container; raises Missing.

    ``extra`` are the variables that the kubelet adds; the container's own win over them.
    """
    own: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        own.update(_env_from(source, sources))
    paths = mount_paths(pod, container, directory)
    for entry in container.get("env") or ():
        value = _env_value(pod, entry, own, sources)
        if value is not None:
            own[entry["name"]] = rewrite(value, paths)
    inherited = {
        name: value
        for name, value in (
            os.environ if server_environment is None else server_environment
        ).items()
        if name in _INHERITED or name.startswith(_INHERITED_PREFIX)
    }
    return {**inherited, **extra, **own}


def _env_from(source: Json, sources: PodSources) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for field, kind in (("secretRef", "secret"), ("configMapRef", "configmap")):
        if field in source:
            optional = bool(source[field].get("optional"))
            data = config_data(sources, kind, source[field]["name"], optional=optional)
            return {f"{prefix}{key}": value.decode() for key, value in data.items()}
    return {}


def _env_value(pod: Json, entry: Json, known: Mapping[str, str], sources: PodSources) -> str | None:
    origin = entry.get("valueFrom")
    if not origin:
        return expand(entry.get("value") or "", known)
    if "fieldRef" in origin:
        return field_value(pod, origin["fieldRef"]["fieldPath"])
    for field, kind in (("secretKeyRef", "secret"), ("configMapKeyRef", "configmap")):
        if field in origin:
            ref = origin[field]
            optional = bool(ref.get("optional"))
            data = config_data(sources, kind, ref["name"], optional=optional)
            if ref["key"] in data:
                return data[ref["key"]].decode()
            if optional:
                return None
            raise Missing(f'{kind} "{ref["name"]}" has no key {ref["key"]!r}')
    return None
