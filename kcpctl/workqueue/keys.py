"""What a queue knows of its keys: nothing but the logical cluster in front of the bar."""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["cluster_of_key"]


def cluster_of_key(key: Hashable) -> str:
    """Return the part of ``cluster|namespace/name`` before the bar; "" for any other key."""
    return key.rpartition("|")[0] if isinstance(key, str) else ""
