"""The pytest plugin: fixtures for tests against the embedded control plane.

Nothing of kcpctl is imported until a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kcpctl.client import Client
    from kcpctl.testing.control_plane import ControlPlane

__all__ = ["control_plane", "workspace"]


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A control plane with workspaces, shared by the tests of the session."""
    from kcpctl.testing.control_plane import ControlPlane

    with ControlPlane() as running:
        yield running


@pytest.fixture
def workspace(control_plane: ControlPlane) -> Client:
    """A client bound to a fresh logical cluster, for this test alone."""
    return control_plane.workspace()
