"""What the downward API says about a Pod, and ``$(VAR)`` references. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["expand", "field_value"]

Json = dict[str, Any]
_SUBSCRIPT: Final = re.compile(r"^metadata\.(labels|annotations)\['([^']+)'\]$")
_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_.][A-Za-z0-9_.-]*)\)")


def field_value(pod: Json, path: str) -> str:
    """Return the value of a ``fieldRef``; raises ValueError for a path that is not supported."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName") or "default",
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": status.get("podIP", ""),
        "status.hostIP": "127.0.0.1",
        "status.hostIPs": "127.0.0.1",
    }
    if path in simple:
        return str(simple[path])
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = metadata.get(path.removeprefix("metadata.")) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(pairs.items()))
    match = _SUBSCRIPT.match(path)
    if match is None:
        raise ValueError(f"field path {path!r} is not supported")
    return str((metadata.get(match[1]) or {}).get(match[2], ""))


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; unknown names stay as they are, and ``$$`` is a plain ``$``."""

    def replaced(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return values.get(match[1], match[0])

    return _REFERENCE.sub(replaced, text)
