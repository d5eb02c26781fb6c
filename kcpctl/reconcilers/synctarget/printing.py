"""A syncer's objects as text for ``kubectl apply``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import yaml

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import NAMESPACES, SECRETS
from kcpctl.reconcilers.synctarget.manifests import SyncerInputs, downstream_objects

__all__ = ["as_text", "printable_objects"]


def printable_objects(inputs: SyncerInputs) -> list[Unstructured]:
    """Return what the controller would apply; without a token there is no Secret.

    A namespace of another name than the syncer's own may be somebody else's. The controller looks;
    here nobody can, so it is not marked as one that goes with the SyncTarget.
    """
    objects = downstream_objects(inputs)
    for obj in objects:
        if obj["kind"] == NAMESPACES.kind and inputs.namespace != inputs.id:
            del obj["metadata"]["labels"]
    # An empty token would take the place of one that works.
    return [obj for obj in objects if inputs.token or obj["kind"] != SECRETS.kind]


def as_text(objects: Sequence[Unstructured], form: str) -> str:
    """Return YAML documents or, for ``json``, one List: either can be piped into kubectl."""
    if form == "json":
        whole = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        return msgspec.json.format(msgspec.json.encode(whole)).decode() + "\n"
    return yaml.dump_all(objects, Dumper=_Plain, sort_keys=False, explicit_start=True)


class _Plain(yaml.SafeDumper):
    """Writes every object out in full, without YAML's anchors."""

    def ignore_aliases(self, data: object) -> bool:
        """Return True: nothing is an alias."""
        return True
