"""Who asks, what for, and whether that is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["ANONYMOUS", "MASTERS", "SYSTEM", "Attributes", "Decision", "UserInfo"]

MASTERS: Final = "system:masters"
"""The group whose members may do everything."""


@dataclass(frozen=True, slots=True)
class UserInfo:
    """An authenticated user."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request wants to do: on a resource, or on a bare ``path``."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    cluster: str = "root"

    @property
    def is_resource(self) -> bool:
        """Whether the request is about a resource rather than a path."""
        return bool(self.resource)


@dataclass(frozen=True, slots=True)
class Decision:
    """An authorizer's answer."""

    allowed: bool
    reason: str = ""


ANONYMOUS = UserInfo("system:anonymous", groups=("system:unauthenticated",))
SYSTEM = UserInfo("system:kcpctl", groups=(MASTERS, "system:authenticated"))
