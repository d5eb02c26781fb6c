"""Logical clusters: their names and paths, and the keys of objects in them.

A key is ``cluster|namespace/name``; a cluster-scoped object has ``cluster|name`` (KCP-01). The
cluster is the logical cluster's *name* (its id), never its path, so that renaming a workspace
changes no key (KCP-04). A server without logical clusters is one cluster, :data:`ROOT`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, NewType

__all__ = [
    "CLUSTER_ANNOTATION",
    "PATH_ANNOTATION",
    "ROOT",
    "WILDCARD",
    "ClusterName",
    "Key",
    "cluster_of",
    "is_valid_path",
    "key_of",
    "split_key",
]

ClusterName = NewType("ClusterName", str)

ROOT: Final = ClusterName("root")
WILDCARD: Final = ClusterName("*")
CLUSTER_ANNOTATION: Final = "kcp.io/cluster"
PATH_ANNOTATION: Final = "kcp.io/path"

_SEGMENT = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PATH = re.compile(rf"^{_SEGMENT}(:{_SEGMENT})*$")


class Key(NamedTuple):
    """A parsed key. ``cluster`` and ``namespace`` are "" where the key has none."""

    cluster: ClusterName
    namespace: str
    name: str

    def __str__(self) -> str:
        return key_of(self.cluster, self.namespace, self.name)


def key_of(cluster: str, namespace: str | None, name: str) -> str:
    """Return ``cluster|namespace/name``, leaving out whatever is empty (KCP-01)."""
    local = f"{namespace}/{name}" if namespace else name
    return f"{cluster}|{local}" if cluster else local


def split_key(key: str) -> Key:
    """Parse a key; raises ValueError for more than one ``|`` or ``/``, or no name (KCP-03)."""
    cluster, bar, local = key.rpartition("|")
    namespace, _, name = local.rpartition("/")
    if "|" in cluster or "/" in namespace or "/" in cluster or not name or (bar and not cluster):
        raise ValueError(f"unexpected key {key!r}: want cluster|namespace/name or cluster|name")
    return Key(ClusterName(cluster), namespace, name)


def cluster_of(annotations: Mapping[str, str] | None, default: str = "") -> ClusterName:
    """Return the logical cluster that an object's annotations name, else ``default``."""
    return ClusterName((annotations or {}).get(CLUSTER_ANNOTATION) or default)


def is_valid_path(path: str) -> bool:
    """Whether ``path`` is a workspace path or a logical cluster name, such as ``root:org:ws``."""
    return _PATH.match(path) is not None
