from __future__ import annotations

from typing import Any

import pytest

from kcpctl.apis.common import Taint
from kcpctl.apis.workload import SyncTargetSpec
from kcpctl.reconcilers.synctarget.scheduling import (
    next_eviction_look,
    schedulable_condition,
    seconds_to_eviction,
)
from kcpctl.runtime import format_time

NOW = 1_700_000_000.0
PAST, LATER = format_time(NOW - 10), format_time(NOW + 90)


def taint(effect: str) -> Taint:
    return Taint(key="gpu", effect=effect)


@pytest.mark.parametrize(
    ("spec", "assigned", "wanted"),
    [
        ({}, False, "True Schedulable "),
        ({"unschedulable": True}, False, "False Cordoned Info"),
        ({"taints": [taint("NoSchedule")]}, False, "False Cordoned Info"),
        ({"taints": [taint("NoExecute")]}, False, "False Cordoned Info"),
        ({"taints": [taint("PreferNoSchedule")]}, False, "True Schedulable "),
        ({"unschedulable": True, "evict_after": LATER}, True, "False Cordoned Info"),
        ({"unschedulable": True, "evict_after": PAST}, True, "False Evicting Warning"),
        ({"unschedulable": True, "evict_after": PAST}, False, "False Evicted Warning"),
        ({"evict_after": PAST}, True, "True EvictAfterIgnored "),
        ({"evict_after": PAST, "taints": [taint("NoSchedule")]}, True, "False Cordoned Info"),
    ],
)
def test_schedulable_follows_from_spec_and_time(
    spec: dict[str, Any], assigned: bool, wanted: str
) -> None:
    found = schedulable_condition(SyncTargetSpec(**spec), NOW, assigned=assigned)
    assert f"{found.status} {found.reason} {found.severity}" == wanted


@pytest.mark.parametrize(
    ("spec", "assigned", "seconds"),
    [
        ({"unschedulable": True}, True, None),
        ({"evict_after": LATER}, True, None),
        ({"unschedulable": True, "evict_after": LATER}, True, 90.0),
        ({"unschedulable": True, "evict_after": PAST}, True, 5.0),
        ({"unschedulable": True, "evict_after": PAST}, False, None),
    ],
)
def test_the_next_look_is_when_time_changes_something(
    spec: dict[str, Any], assigned: bool, seconds: float | None
) -> None:
    assert next_eviction_look(SyncTargetSpec(**spec), NOW, assigned=assigned) == seconds


def test_the_moment_itself_is_due() -> None:
    spec = SyncTargetSpec(unschedulable=True, evict_after=format_time(NOW))
    assert seconds_to_eviction(spec, NOW) == 0.0


def test_a_taint_is_named() -> None:
    spec = SyncTargetSpec(taints=[taint("NoSchedule")])
    assert "'gpu'" in schedulable_condition(spec, NOW, assigned=False).message
