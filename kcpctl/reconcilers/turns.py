"""Keeping workers for clusters that answer, when others connect and then do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kcpctl.errors import DeadlineExceeded, TransportTimeout
from kcpctl.runtime import Clock, Deadline

__all__ = ["ClusterTurns", "Postponed"]

# All requests of one pass to a cluster together.
_PASS_SECONDS: Final = 60.0
# How long it is held against a server that it did not answer.
_MEMORY_SECONDS: Final = 60.0
_LATER_SECONDS: Final = 1.0
# With so many silent servers a workspace is taken for one that has nothing else.
_SILENT_AT_MOST: Final = 3


class Postponed(Exception):
    """Another silent cluster has the turn; the pass is to be made in ``seconds``, unchanged."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"another cluster that does not answer has its turn; {seconds:g} s")
        self.seconds = seconds


class ClusterTurns:
    """Who may hold a worker up, waiting for a cluster.

    Everybody may, for a minute; but a server that has let a request time out lately has to take
    turns with all others of that kind: ``silent`` of them at a time, and one of each workspace.
    So whoever registers clusters that accept connections and answer nothing holds up his own. On
    a server with workspaces (``by_workspace``) one with three silent servers takes turns with all
    that it has. Nobody waits for a turn: a pass without one is Postponed. Any thread.
    """

    def __init__(self, *, clock: Clock, silent: int, by_workspace: bool) -> None:
        self._clock = clock
        self._places = max(silent, 1)
        self._by_workspace = by_workspace
        self._lock = threading.Lock()
        # Guarded by _lock: until when servers are remembered, by workspace; who has a turn.
        self._silent: dict[str, dict[str, float]] = {}
        self._taken: list[str] = []

    @contextmanager
    def turn(self, workspace: str, server: str) -> Iterator[None]:
        """Let the block talk to a server; raises Postponed at once if that is not its turn."""
        taken = self._take(workspace, server)
        try:
            with Deadline.within(_PASS_SECONDS, clock=self._clock):
                yield
        except (TransportTimeout, DeadlineExceeded):
            with self._lock:
                self._forget_what_is_over()
                silent = self._silent.setdefault(workspace, {})
                silent[server] = self._clock.monotonic() + _MEMORY_SECONDS
            raise
        finally:
            if taken:
                with self._lock:
                    self._taken.remove(workspace)

    def _take(self, workspace: str, server: str) -> bool:
        with self._lock:
            if not self._is_silent(workspace, server):
                return False
            busy = len(self._taken) >= self._places
            if busy or (self._by_workspace and workspace in self._taken):
                raise Postponed(_LATER_SECONDS)
            self._taken.append(workspace)
            return True

    def _is_silent(self, workspace: str, server: str) -> bool:
        """Whether to take turns. The lock is held."""
        now = self._clock.monotonic()
        silent = {one for one, until in self._silent.get(workspace, {}).items() if until > now}
        return server in silent or (self._by_workspace and len(silent) >= _SILENT_AT_MOST)

    def _forget_what_is_over(self) -> None:
        """Also of workspaces that nobody asks for any more. The lock is held."""
        now = self._clock.monotonic()
        for workspace, servers in list(self._silent.items()):
            left = {one: until for one, until in servers.items() if until > now}
            if left:
                self._silent[workspace] = left
            else:
                del self._silent[workspace]
