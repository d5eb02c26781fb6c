"""The URLs of the virtual workspaces of APIExports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kcpctl.embedded.exports.directory import Place

__all__ = ["ExportPath", "parse_export_path"]

_PREFIX: Final = "/services/apiexport/"


@dataclass(frozen=True, slots=True)
class ExportPath:
    """A path in an export's virtual workspace.

    ``consumer`` is the *name* of a logical cluster, or ``*``; ``rest`` is what an ordinary server
    has as path.
    """

    export: Place
    consumer: str
    rest: str


def parse_export_path(path: str) -> ExportPath | None:
    """Parse ``/services/apiexport/CLUSTER/EXPORT/clusters/CONSUMER/...``; None for other paths."""
    if not path.startswith(_PREFIX):
        return None
    cluster, name, clusters, consumer, rest = [*path[len(_PREFIX) :].split("/", 4), *[""] * 5][:5]
    if not (cluster and name and consumer) or clusters != "clusters" or ":" in consumer:
        return None
    return ExportPath(Place(cluster, name), consumer, f"/{rest}")
