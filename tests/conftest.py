"""What holds for every test: no judgement by the clock, and no logging left as another test set it.

The files are spread over processes, so which tests come before one differs from run to run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

kcpctl = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("kcpctl", kcpctl)
# hack/test: the same examples each time, so that what it says of a change is of the change. New
# ones are tried by everybody who runs pytest.
settings.register_profile("the-same", kcpctl, derandomize=True, database=None)
settings.load_profile("kcpctl")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("kcpctl")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)
