"""A controller with more to end than its workers."""

from __future__ import annotations

from collections.abc import Callable

from kcpctl.controller import Controller

__all__ = ["EndingController"]


class EndingController(Controller):
    """A controller that also ends its subscriptions and watches elsewhere. See Controller."""

    _callbacks: tuple[Callable[[], object], ...] = ()

    def ends(self, *callbacks: Callable[[], object]) -> None:
        """Call ``callbacks`` once the workers have stopped."""
        self._callbacks = callbacks

    def stop(self, timeout_seconds: float = 30.0) -> bool:
        """Stop the workers, then the rest."""
        ended = super().stop(timeout_seconds)
        for callback in self._callbacks:
            callback()
        return ended
