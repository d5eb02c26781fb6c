"""Discovery documents, legacy and aggregated, as dicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcpctl.embedded.kinds import ResourceInfo

__all__ = [
    "aggregated_api",
    "aggregated_apis",
    "api_group",
    "api_group_list",
    "api_versions",
    "resource_list",
]


def api_versions(server_address: str = "") -> dict[str, Any]:
    """Return ``/api``: an APIVersions."""
    raise NotImplementedError


def api_group_list(infos: Sequence[ResourceInfo]) -> dict[str, Any]:
    """Return ``/apis``: an APIGroupList."""
    raise NotImplementedError


def api_group(group: str, infos: Sequence[ResourceInfo]) -> dict[str, Any] | None:
    """Return ``/apis/GROUP``: an APIGroup, None when it is not served."""
    raise NotImplementedError


def resource_list(group_version: str, infos: Sequence[ResourceInfo]) -> dict[str, Any] | None:
    """Return ``/apis/GROUP/VERSION`` or (``v1``) ``/api/v1``: an APIResourceList, or None."""
    raise NotImplementedError


def aggregated_api(infos: Sequence[ResourceInfo]) -> dict[str, Any]:
    """Return ``/api`` as apidiscovery.k8s.io/v2 APIGroupDiscoveryList."""
    raise NotImplementedError


def aggregated_apis(infos: Sequence[ResourceInfo]) -> dict[str, Any]:
    """Return ``/apis`` as apidiscovery.k8s.io/v2 APIGroupDiscoveryList."""
    raise NotImplementedError
