"""Kubeconfig files for the embedded server."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kcpctl.embedded.security.ca import KeyPair
from kcpctl.embedded.security.private_file import write_private

__all__ = ["Context", "encode_kubeconfig", "kubeconfig", "write_kubeconfig"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """One context: its name and the URL of the server, with ``/clusters/<path>`` where needed."""

    name: str
    server: str
    namespace: str = ""


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def kubeconfig(
    contexts: Sequence[Context],
    *,
    ca_pem: bytes,
    client: KeyPair | None = None,
    token_file: str = "",
    user: str = "admin",
) -> Json:
    """Return a kubeconfig whose first context is the current one; one user for all of them.

    Every context has a cluster entry of its own, since a logical cluster is part of the URL.
    """
    credentials: Json = {}
    if client is not None:
        credentials["client-certificate-data"] = _text(client.certificate_pem)
        credentials["client-key-data"] = _text(client.key_pem)
    if token_file:
        credentials["tokenFile"] = token_file
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context.name,
                "cluster": {
                    "server": context.server,
                    "certificate-authority-data": _text(ca_pem),
                },
            }
            for context in contexts
        ],
        "users": [{"name": user, "user": credentials}],
        "contexts": [
            {
                "name": context.name,
                "context": {
                    "cluster": context.name,
                    "user": user,
                    **({"namespace": context.namespace} if context.namespace else {}),
                },
            }
            for context in contexts
        ],
        "current-context": contexts[0].name if contexts else "",
    }


def encode_kubeconfig(config: Json) -> bytes:
    """Return a kubeconfig as the YAML content of a file."""
    return ("\n".join(_yaml(config, "")) + "\n").encode()


def write_kubeconfig(path: Path, config: Json) -> None:
    """Write a kubeconfig with mode 0600; it appears whole or not at all. Raises OSError."""
    write_private(path, encode_kubeconfig(config))


# Importing a YAML library would take longer than starting the server; a kubeconfig is mappings,
# lists and strings only.
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9+/=:._@-]*[A-Za-z0-9+/=_]")
_RESERVED: Final = frozenset(["true", "false", "yes", "no", "on", "off", "null", "y", "n"])


def _yaml(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                yield f"{indent}{key}:"
                yield from _yaml(item, indent if isinstance(item, list) else indent + "  ")
            else:
                yield f"{indent}{key}: {_scalar(item)}"
    elif isinstance(value, list):
        for item in value:
            lines = list(_yaml(item, indent + "  "))
            yield f"{indent}- {lines[0].lstrip()}"
            yield from lines[1:]


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return json.dumps(value)
