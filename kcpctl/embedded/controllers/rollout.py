"""How many Pods of which ReplicaSet: the arithmetic of a Deployment. Pure functions."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any, Final

__all__ = [
    "HASH_LABEL",
    "REVISION",
    "bounds",
    "desired",
    "new_set_size",
    "old_set_sizes",
    "same_template",
    "template_hash",
]

Json = dict[str, Any]
HASH_LABEL: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"  # what Kubernetes encodes hashes with


def desired(obj: Json) -> int:
    """Return spec.replicas of a Deployment or ReplicaSet."""
    replicas = obj["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def _available(replica_set: Json) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas") or 0)


def template_hash(template: Json, collisions: int = 0) -> str:
    """Return the value of the ``pod-template-hash`` label for a Pod template."""
    text = json.dumps([template, collisions], sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(number))


def same_template(deployment: Json, replica_set: Json) -> bool:
    """Whether a ReplicaSet runs a Deployment's present template."""
    return _without_hash(deployment["spec"]["template"]) == _without_hash(
        replica_set["spec"]["template"]
    )


def _without_hash(template: Json) -> Json:
    metadata = {**(template.get("metadata") or {})}
    labels = {
        key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL
    }
    return {**template, "metadata": {**metadata, "labels": labels}}


def bounds(deployment: Json) -> tuple[int, int]:
    """Return (max surge, max unavailable) in Pods; never both 0, or a rollout could not move."""
    settings = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    wanted = desired(deployment)
    surge = _resolve(settings.get("maxSurge", "25%"), wanted, math.ceil)
    unavailable = _resolve(settings.get("maxUnavailable", "25%"), wanted, math.floor)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, wanted)


def _resolve(value: int | str, total: int, rounding: Any) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return int(rounding(int(value[:-1]) * total / 100))
    return int(value)


def new_set_size(deployment: Json, new: Json, everything: Sequence[Json]) -> int:
    """Return how large the new ReplicaSet may be now, in a rolling update."""
    wanted, present = desired(deployment), desired(new)
    if present >= wanted:
        return wanted
    surge, _ = bounds(deployment)
    room = wanted + surge - sum(desired(replica_set) for replica_set in everything)
    return present + min(max(room, 0), wanted - present)


def old_set_sizes(deployment: Json, new: Json, old: Sequence[Json]) -> list[int]:
    """Return how large each old ReplicaSet (oldest first) may be now, in a rolling update.

    Pods that are not available go first, since nobody misses them; then available ones as far as
    the promised minimum allows.
    """
    sizes = [desired(replica_set) for replica_set in old]
    _, unavailable = bounds(deployment)
    minimum = desired(deployment) - unavailable
    new_unavailable = max(desired(new) - _available(new), 0)
    budget = sum(sizes) + desired(new) - minimum - new_unavailable
    for index, replica_set in enumerate(old):
        unhealthy = max(sizes[index] - _available(replica_set), 0)
        cut = min(max(budget, 0), unhealthy)
        sizes[index] -= cut
        budget -= cut
    spare = _available(new) + sum(_available(replica_set) for replica_set in old) - minimum
    for index in range(len(old)):
        cut = min(max(spare, 0), sizes[index])
        sizes[index] -= cut
        spare -= cut
    return sizes
