"""What a queue held at one moment, for people who look into it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kcpctl.workqueue.keys import cluster_of_key

__all__ = ["QueueSnapshot"]

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class QueueSnapshot(Generic[K]):
    """What a queue held at one moment.

    ``queued`` maps each key that is to be handed out to the seconds since its first add (keys that
    are processed right now and run again afterwards included), ``waiting`` to the seconds until it
    is due, ``processing`` to the seconds since it was handed out.
    """

    queued: dict[K, float] = field(default_factory=dict)
    waiting: dict[K, float] = field(default_factory=dict)
    processing: dict[K, float] = field(default_factory=dict)

    def by_cluster(self) -> dict[str, QueueSnapshot[K]]:
        """Return the same for each logical cluster that has a key in it."""
        found: dict[str, QueueSnapshot[K]] = {}
        for part in ("queued", "waiting", "processing"):
            keys: dict[K, float] = getattr(self, part)
            for key, seconds in keys.items():
                cluster = found.setdefault(cluster_of_key(key), QueueSnapshot())
                getattr(cluster, part)[key] = seconds
        return found
