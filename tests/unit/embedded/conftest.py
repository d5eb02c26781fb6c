from __future__ import annotations

import random

import pytest

from kcpctl.embedded.registry import Registry
from kcpctl.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def plain(clock: FakeClock) -> Registry:
    """A registry of one ordinary cluster."""
    return Registry(clock=clock, rng=random.Random(1))


@pytest.fixture
def workspaces(clock: FakeClock) -> Registry:
    """A registry with logical clusters."""
    return Registry(workspaces=True, clock=clock, rng=random.Random(1))
