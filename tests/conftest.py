"""What holds for every test: no judgement by the clock, and no logging left as another test set it.

The files are spread over processes, so which tests come before one differs from run to run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("kcpctl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kcpctl")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("kcpctl")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)
