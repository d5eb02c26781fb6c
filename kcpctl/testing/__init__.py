"""Test helpers for people who write controllers with kcpctl.

:class:`ControlPlane` is a real API server with workspaces in a process of its own, ready in under
a second. The pytest plugin (installed with kcpctl) gives the fixtures ``control_plane`` and
``workspace``. :class:`FakeClock` is a clock that only moves when a test says so, and
:func:`eventually` waits for something that another process does. :class:`FaultProxy` stands
between a client and a server and breaks, refuses, holds back or cuts off what passes.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kcpctl.testing.clock import FakeClock
    from kcpctl.testing.control_plane import ControlPlane
    from kcpctl.testing.proxy import FaultProxy
    from kcpctl.testing.waiting import eventually

__all__ = ["ControlPlane", "FakeClock", "FaultProxy", "eventually"]

_HOMES = {
    "ControlPlane": "kcpctl.testing.control_plane",
    "eventually": "kcpctl.testing.waiting",
    "FakeClock": "kcpctl.testing.clock",
    "FaultProxy": "kcpctl.testing.proxy",
}


def __getattr__(name: str) -> Any:
    """Import a helper when it is asked for: pytest loads our plugin in every project."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
