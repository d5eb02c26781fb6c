from __future__ import annotations

import random
from typing import Any

import pytest

from kcpctl.errors import UsageError
from kcpctl.syncer import SyncerOptions
from kcpctl.syncer.session import retry_limiter


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sync_target_name": ""}, "--sync-target-name"),
        ({"sync_target_uid": ""}, "kubectl get synctarget east"),
        ({"heartbeat_interval_seconds": 0}, "--heartbeat-interval"),
        ({"workers": 0}, "--workers"),
        ({"leader_elect": True}, "--namespace"),
        ({"retry_initial_seconds": 0}, "--retry-initial-interval"),
        ({"retry_multiplier": 1}, "--retry-multiplier"),
    ],
)
def test_bad_options_name_the_flag(fields: dict[str, object], words: str) -> None:
    good: dict[str, object] = {"sync_target_name": "east", "sync_target_uid": "u"}
    with pytest.raises(UsageError, match=words):
        SyncerOptions(**{**good, **fields})  # type: ignore[arg-type]


class Longest(random.Random):
    """Always draws the upper end, which shows the ceilings."""

    def random(self) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("fields", "waits"),
    [
        ({}, [0.005, 0.01, 0.02]),
        ({"retry_initial_seconds": 1, "retry_multiplier": 3}, [1, 3, 9]),
        ({"retry_initial_seconds": 1, "retry_max_seconds": 1.5}, [1, 1.5, 1.5]),
        ({"retry_initial_seconds": 90}, [90, 90, 90]),
    ],
)
def test_what_failed_waits_as_the_options_say(fields: dict[str, Any], waits: list[float]) -> None:
    options = SyncerOptions(sync_target_name="east", sync_target_uid="u", **fields)
    limiter = retry_limiter(options, Longest())
    assert [limiter.when("a") for _ in waits] == waits
