"""What the queues raise."""

from __future__ import annotations

from kcpctl.errors import KcpctlError

__all__ = ["ShutDown"]


class ShutDown(KcpctlError):
    """``get`` found the queue shut down and empty: the worker ends."""
