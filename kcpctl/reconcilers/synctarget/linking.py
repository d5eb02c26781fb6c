"""Where a SyncTarget's workspace is served, through an APIExport of a kcp (2.2, Linking)."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from kcpctl.apis.conditions import INFO, WARNING, Condition, false, true
from kcpctl.apis.kcp import APIBinding
from kcpctl.apis.synctarget_status import VirtualWorkspace

__all__ = [
    "LINK_LOOK_SECONDS",
    "VIRTUAL_WORKSPACE_LINKED",
    "Link",
    "Links",
    "find_link",
    "linked_condition",
    "virtual_workspaces",
]

VIRTUAL_WORKSPACE_LINKED: Final = "VirtualWorkspaceLinked"

# An endpoint that fails tells nobody when it is back; a heartbeat is the next look as a rule.
LINK_LOOK_SECONDS: Final = 30.0


class Link(NamedTuple):
    """Where a logical cluster is served: its URL there, "" for nowhere, and what fails there."""

    url: str = ""
    problem: str = ""


class Links(Protocol):
    """Who knows where the logical clusters that bind an APIExport are. Any thread, no I/O."""

    def endpoint_of(self, cluster: str) -> tuple[str, str]:
        """Return the URL of the endpoint that serves one, "" if none, and what fails there."""

    def binding(self, cluster: str) -> APIBinding | None:
        """Return the APIBinding of one as it was last seen."""


def find_link(links: Links, cluster: str) -> Link:
    """Return where a logical cluster is served right now."""
    endpoint, problem = links.endpoint_of(cluster)
    return Link(f"{endpoint}/clusters/{cluster}" if endpoint else "", problem)


def linked_condition(link: Link) -> Condition:
    """Return VirtualWorkspaceLinked."""
    if not link.url:
        message = "No endpoint of the APIExport serves this workspace; see its APIBinding"
        return false(VIRTUAL_WORKSPACE_LINKED, INFO, "NoEndpoints", message)
    if link.problem:
        message = f"The workspace is served at {link.url}, which fails: {link.problem}"
        return false(VIRTUAL_WORKSPACE_LINKED, WARNING, "LinkFailed", message)
    message = "An endpoint of the APIExport serves this workspace (status.virtualWorkspaces)"
    return true(VIRTUAL_WORKSPACE_LINKED, "Linked", message)


def virtual_workspaces(link: Link | None) -> list[VirtualWorkspace]:
    """Return ``status.virtualWorkspaces``: the one URL at which a workspace is served, if any."""
    return [VirtualWorkspace(url=link.url, syncer_url=link.url)] if link and link.url else []
