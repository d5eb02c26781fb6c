"""Which endpoint serves a logical cluster, and whether it may be worked on: without any I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Listener", "Membership"]


class Listener(Protocol):
    """Who hears what becomes of logical clusters."""

    def engaged(self, cluster: str) -> None:
        """Hear that one may be worked on from now on, or is served at another endpoint now."""

    def left(self, cluster: str, token: object) -> None:
        """Hear that no endpoint shows one any more; the token is for :meth:`Membership.forget`."""


@dataclass(eq=False, slots=True)
class _Endpoint:
    listed: bool = True
    synced: bool = False


@dataclass(eq=False, slots=True)
class _Cluster:
    # By endpoint and name of the binding, in the order they were first shown: whether it is ready.
    bindings: dict[tuple[str, str], bool] = field(default_factory=dict)
    url: str = ""
    left: object | None = None


class Membership:
    """The logical clusters of a fleet, by what its endpoints show.

    A cluster is *engaged* while an endpoint that is listed, and has shown all there is, shows a
    binding of it that is ready. Otherwise it is *parked*. One that no listed endpoint shows has
    *left*: it is parked, keeps its route, and is forgotten when its owner says so, unless it is
    back. Where several endpoints show one, the last that engages it counts (a shard it moved to).

    All changes happen on one thread; questions may be asked on any.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._endpoints: dict[str, _Endpoint] = {}
        self._clusters: dict[str, _Cluster] = {}
        # Only single items are changed, so that any thread can look.
        self._engaged: set[str] = set()

    # Any thread.

    def is_engaged(self, cluster: str) -> bool:
        """Whether a logical cluster may be worked on."""
        return cluster in self._engaged

    def find(self, cluster: str) -> str | None:
        """Return the endpoint of a logical cluster; None for one that is not known."""
        found = self._clusters.get(cluster)
        return None if found is None else found.url

    def count(self) -> tuple[int, int]:
        """Return how many are engaged, and how many are not."""
        engaged = len(self._engaged)
        return engaged, max(len(self._clusters) - engaged, 0)

    def clusters_of(self, url: str) -> dict[str, bool]:
        """Return the clusters that an endpoint serves, and whether each is engaged."""
        there = list(self._clusters.items())
        return {name: name in self._engaged for name, one in there if one.url == url}

    # The owner's thread.

    def url_of(self, cluster: str) -> str:
        """Return the endpoint of a cluster that there is."""
        return self._clusters[cluster].url

    def list_endpoint(self, url: str, *, listed: bool = True) -> None:
        """Take that an endpoint is listed, or that it is not any more."""
        self._endpoints.setdefault(url, _Endpoint()).listed = listed
        self._settle_all(url)

    def sync_endpoint(self, url: str) -> None:
        """Take that an endpoint has shown all there is."""
        self._endpoints[url].synced = True
        self._settle_all(url)

    def drop_endpoint(self, url: str) -> None:
        """Forget an endpoint, and what it showed."""
        self._endpoints.pop(url, None)
        for name, cluster in list(self._clusters.items()):
            gone = [key for key in cluster.bindings if key[0] == url]
            for key in gone:
                del cluster.bindings[key]
            if gone:
                self._settle(name, cluster)

    def show(self, url: str, cluster: str, binding: str, *, ready: bool) -> None:
        """Take what an endpoint shows of a binding."""
        member = self._clusters.get(cluster)
        if member is None:
            member = self._clusters[cluster] = _Cluster()
        member.bindings[url, binding] = ready
        self._settle(cluster, member)

    def hide(self, url: str, cluster: str, binding: str) -> None:
        """Take that an endpoint shows a binding no more."""
        member = self._clusters.get(cluster)
        if member is not None and member.bindings.pop((url, binding), None) is not None:
            self._settle(cluster, member)

    def forget(self, cluster: str, token: object) -> bool:
        """Forget a cluster that left with this token, unless it came back since; say which."""
        member = self._clusters.get(cluster)
        if member is None or member.left is not token:
            return False
        del self._clusters[cluster]
        return True

    def _settle_all(self, url: str) -> None:
        for name, cluster in list(self._clusters.items()):
            if any(key[0] == url for key in cluster.bindings):
                self._settle(name, cluster)

    def _settle(self, name: str, cluster: _Cluster) -> None:
        """Bring what follows from the bindings up to date."""
        listed = [key for key in cluster.bindings if self._endpoints[key[0]].listed]
        engaging = [key for key in listed if self._engages(key, cluster.bindings[key])]
        best = _last(engaging) or _last(listed) or _last(cluster.bindings)
        url = cluster.url
        if best is not None:
            cluster.url = best[0]
        before = name in self._engaged and url == cluster.url
        if engaging:
            self._engaged.add(name)
        else:
            self._engaged.discard(name)
        if listed:
            cluster.left = None
        elif cluster.left is None:
            cluster.left = object()
            self._listener.left(name, cluster.left)
        if engaging and not before:
            self._listener.engaged(name)

    def _engages(self, key: tuple[str, str], ready: bool) -> bool:
        return ready and self._endpoints[key[0]].synced


def _last(keys: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    found = None
    for found in keys:  # noqa: B007 - the last one is wanted
        pass
    return found
