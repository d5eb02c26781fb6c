"""Kubeconfigs and in-cluster files, read through the official ``kubernetes`` package."""

from __future__ import annotations

from pathlib import Path

from kcpctl.client.config import ClientConfig

__all__ = ["config_from_kubeconfig", "load_config"]


def load_config(path: str | Path | None = None, context: str | None = None) -> ClientConfig:
    """Return the configuration of a context: of ``path``, else as kubectl looks for it."""
    raise NotImplementedError


def config_from_kubeconfig(
    data: bytes, *, source: str, context: str | None = None, allow_exec: bool = False
) -> ClientConfig:
    """Return the configuration of a context of kubeconfig bytes that came from elsewhere."""
    raise NotImplementedError
