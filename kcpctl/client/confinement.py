"""Which logical clusters a piece of work may reach: below every client, not by its good will."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from kcpctl.errors import CrossWorkspaceAccess

__all__ = ["check_reach", "confine", "reaching"]

_reach: Final[ContextVar[tuple[str, ...]]] = ContextVar("kcpctl_reach", default=())


def confine(cluster: str) -> None:
    """Let what this thread or task does from now on reach one logical cluster; "" lifts that.

    It binds clients of servers with many logical clusters, whichever cluster they were made for
    and whoever made them; a request to any other raises CrossWorkspaceAccess. Blocking clients take
    it along to the I/O loop, and so does what is started there meanwhile, for as long as it lives.
    """
    _reach.set((cluster,) if cluster else ())


@contextmanager
def reaching(cluster: str) -> Iterator[None]:
    """Let confined work reach another logical cluster too, by its name or path, within the block.

    For references that are checked, and for the checks themselves.
    """
    reach = _reach.get()
    if not reach:
        yield
        return
    token = _reach.set((*reach, cluster))
    try:
        yield
    finally:
        _reach.reset(token)


def check_reach(cluster: str, url: str) -> None:
    """Raise CrossWorkspaceAccess if the work under way may not reach ``cluster``."""
    reach = _reach.get()
    if reach and cluster not in reach:
        raise CrossWorkspaceAccess(
            f"work on an object of logical cluster {reach[0]!r} was to reach {cluster!r} ({url}); "
            f"use client.cluster({reach[0]!r}), or check the reference that leads there and use "
            "kcpctl.client.reaching"
        )
