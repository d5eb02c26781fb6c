"""What a manager needs of the parts that it starts and stops."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from kcpctl.manager.debug import HasInformers, HasQueues

__all__ = ["Factory", "Runs"]


class Factory(HasInformers, Protocol):
    """What the manager needs of an informer factory."""

    def start(self) -> None:
        """Start what was registered; may be called again for what came later."""

    @property
    def waiting_for(self) -> list[str]:
        """The informers that have no complete initial list yet."""

    def remove(self, cluster: str) -> None:
        """Forget a logical cluster, with deletes delivered; at once on the I/O thread."""

    def close(self) -> None:
        """Stop everything."""


class Runs(HasQueues, Protocol):
    """What the manager needs of a controller, or of several that are one to it."""

    @property
    def name(self) -> str:
        """Which one it is, for messages."""

    @property
    def waiting_for(self) -> list[str]:
        """The informers that it cannot start without."""

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""

    def start(self) -> None:
        """Start the workers."""

    def stop(self, timeout_seconds: float) -> bool:
        """Finish what is queued; return whether that was in time."""

    def remove_all(self, clusters: Collection[str]) -> None:
        """End all that there is of some logical clusters."""

    def admit_only(self, admits: Callable[[str], bool]) -> None:
        """Let the keys of other logical clusters wait."""

    def resume(self, cluster: str) -> None:
        """Reconcile what waited of a logical cluster that is admitted now."""
