"""How long a key that failed waits (decision 15: per key, with jitter, no shared bucket)."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Hashable
from typing import Final, Protocol, TypeVar

from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, Clock
from kcpctl.workqueue.keys import KeysByCluster, cluster_of_key

__all__ = [
    "ClusterBucket",
    "ItemExponential",
    "ItemFastSlow",
    "MaxOf",
    "RateLimiter",
    "WithMaxWait",
    "default_limiter",
]

K = TypeVar("K", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)

# Decision 15: 5 ms x2 to 60 s.
_BASE_SECONDS: Final = 0.005
_CAP_SECONDS: Final = 60.0
# So many buckets, or twice as many as last time, are looked through for ones that are full again.
_SWEPT_FROM: Final = 64


class RateLimiter(Protocol[K_contra]):
    """Counts failures by key and turns them into delays (RL-01). Safe from any thread."""

    def when(self, key: K_contra) -> float:
        """Count one failure and return the seconds to wait."""

    def forget(self, key: K_contra) -> None:
        """Clear the failures of ``key``."""

    def forget_cluster(self, name: str) -> None:
        """Clear everything about the keys of a logical cluster (RL-17)."""

    def num_requeues(self, key: K_contra) -> int:
        """Return the failures counted so far."""


class _Failures(RateLimiter[K]):
    """The failure counts by key. A key that is forgotten leaves nothing behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[K, int] = {}
        self._by_cluster: KeysByCluster[K] = KeysByCluster()

    def _count(self, key: K) -> int:
        """Count one failure and return how many there were before."""
        with self._lock:
            before = self._failures.get(key, 0)
            if not before:
                self._by_cluster.add(key)
            self._failures[key] = before + 1
        return before

    def forget(self, key: K) -> None:
        """Clear the failures of ``key``."""
        if key not in self._failures:  # the end of nearly every reconcile: no lock for it
            return
        with self._lock:
            if self._failures.pop(key, 0):
                self._by_cluster.discard(key)

    def forget_cluster(self, name: str) -> None:
        """Clear the failures of every key of a cluster; takes time by their number."""
        with self._lock:
            for key in self._by_cluster.pop_cluster(name):
                del self._failures[key]

    def num_requeues(self, key: K) -> int:
        """Return the failures counted so far."""
        with self._lock:
            return self._failures.get(key, 0)


class ItemExponential(_Failures[K]):
    """A delay drawn evenly from (0, base x multiplier^failures], the upper end capped (RL-02).

    The full jitter keeps keys that failed together from retrying together (fixes RL-13).
    """

    def __init__(
        self,
        base_seconds: float = _BASE_SECONDS,
        cap_seconds: float = _CAP_SECONDS,
        *,
        multiplier: float = 2.0,
        rng: random.Random = SYSTEM_RANDOM,
    ) -> None:
        super().__init__()
        if not 0 < base_seconds <= cap_seconds:
            raise ValueError(f"want 0 < base ({base_seconds}) <= cap ({cap_seconds})")
        if multiplier <= 1:
            raise ValueError(f"want a multiplier above 1, not {multiplier}")
        self._multiplier = multiplier
        # There the cap is reached; larger exponents would overflow a float (RL-03).
        self._max_exponent = math.ceil(math.log(cap_seconds / base_seconds, multiplier))
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        self._rng = rng

    def when(self, key: K) -> float:
        """Count one failure and return the seconds to wait."""
        exponent = min(self._count(key), self._max_exponent)
        ceiling = min(self._base_seconds * self._multiplier**exponent, self._cap_seconds)
        return ceiling * (1.0 - self._rng.random())


class ItemFastSlow(_Failures[K]):
    """The fast delay for a key's first ``max_fast`` failures, then the slow one (RL-08)."""

    def __init__(self, fast_seconds: float, slow_seconds: float, max_fast: int) -> None:
        super().__init__()
        self._fast_seconds = fast_seconds
        self._slow_seconds = slow_seconds
        self._max_fast = max_fast

    def when(self, key: K) -> float:
        """Count one failure and return the seconds to wait."""
        return self._fast_seconds if self._count(key) < self._max_fast else self._slow_seconds


class ClusterBucket(RateLimiter[K]):
    """A token bucket for each logical cluster (RL-11); no cluster waits for another (RL-12).

    ``when`` takes a token and returns how long to wait for it. Nobody waits longer than
    ``max_wait_seconds``: from there on no token is taken, so a storm of failures, or of adds that
    the queue merges, does not push the bucket ever further into the future (mends RL-18). The
    clock is injected like the queue's (RL-19). A cluster with a full bucket leaves nothing behind.
    """

    def __init__(
        self,
        qps: float = 10.0,
        burst: int = 100,
        *,
        max_wait_seconds: float = _CAP_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if qps <= 0 or burst < 1:
            raise ValueError(f"want qps ({qps}) > 0 and burst ({burst}) >= 1")
        self._token_seconds = 1 / qps
        self._burst_seconds = burst / qps
        self._max_wait_seconds = max_wait_seconds
        self._clock = clock
        self._lock = threading.Lock()
        # When each cluster's bucket will be full again. One in the past is a full bucket.
        self._full_at: dict[str, float] = {}
        self._sweep_at_length = _SWEPT_FROM

    def when(self, key: K) -> float:
        """Take a token and return the seconds until it is there."""
        name = cluster_of_key(key)
        with self._lock:
            now = self._clock.monotonic()
            full_at = max(self._full_at.get(name, now), now) + self._token_seconds
            wait = full_at - self._burst_seconds - now
            if wait > self._max_wait_seconds:
                return self._max_wait_seconds
            self._full_at[name] = full_at
            if len(self._full_at) >= self._sweep_at_length:
                self._full_at = {name: at for name, at in self._full_at.items() if at > now}
                self._sweep_at_length = max(2 * len(self._full_at), _SWEPT_FROM)
            return max(wait, 0.0)

    def forget(self, key: K) -> None:
        """Do nothing: a token that was taken is not given back (RL-11)."""

    def forget_cluster(self, name: str) -> None:
        """Drop the cluster's bucket; the next one is full."""
        with self._lock:
            self._full_at.pop(name, None)

    def num_requeues(self, key: K) -> int:
        """Return 0: nothing is counted by key."""
        return 0


class MaxOf(RateLimiter[K]):
    """The longest delay of several limiters, each of which is asked every time (RL-09)."""

    def __init__(self, *limiters: RateLimiter[K]) -> None:
        if not limiters:
            raise ValueError("MaxOf needs at least one limiter")
        self._limiters = limiters

    def when(self, key: K) -> float:
        """Count one failure with every limiter and return the largest of their delays."""
        return max([limiter.when(key) for limiter in self._limiters])

    def forget(self, key: K) -> None:
        """Clear the failures of ``key`` everywhere."""
        for limiter in self._limiters:
            limiter.forget(key)

    def forget_cluster(self, name: str) -> None:
        """Clear the keys of a cluster everywhere."""
        for limiter in self._limiters:
            limiter.forget_cluster(name)

    def num_requeues(self, key: K) -> int:
        """Return the largest of the limiters' counts."""
        return max(limiter.num_requeues(key) for limiter in self._limiters)


class WithMaxWait(RateLimiter[K]):
    """A limiter whose delays are capped (RL-10)."""

    def __init__(self, limiter: RateLimiter[K], max_seconds: float) -> None:
        self._limiter = limiter
        self._max_seconds = max_seconds

    def when(self, key: K) -> float:
        """Count one failure and return the seconds to wait, at most the cap."""
        return min(self._limiter.when(key), self._max_seconds)

    def forget(self, key: K) -> None:
        """Clear the failures of ``key``."""
        self._limiter.forget(key)

    def forget_cluster(self, name: str) -> None:
        """Clear the keys of a cluster."""
        self._limiter.forget_cluster(name)

    def num_requeues(self, key: K) -> int:
        """Return the failures counted so far."""
        return self._limiter.num_requeues(key)


def default_limiter(*, rng: random.Random = SYSTEM_RANDOM) -> RateLimiter[K]:
    """Return the limiter of reconcile errors: 5 ms x2 to 60 s per key (decision 15)."""
    return ItemExponential(rng=rng)
