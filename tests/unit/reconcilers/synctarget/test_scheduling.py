from __future__ import annotations

from typing import Any

import pytest

from kcpctl.apis.common import Taint
from kcpctl.apis.conditions import Condition
from kcpctl.apis.workload import Maintenance, SyncTargetSpec
from kcpctl.reconcilers.synctarget.scheduling import (
    next_eviction_look,
    planned_eviction,
    schedulable_condition,
)
from kcpctl.runtime import format_time

NOW = 1_700_000_000.0
PAST, LATER = format_time(NOW - 10), format_time(NOW + 90)


def schedulable(
    spec: SyncTargetSpec, unhealthy_seconds: float | None, *, assigned: bool
) -> Condition:
    eviction = planned_eviction(spec, NOW, unhealthy_seconds)
    return schedulable_condition(spec, eviction, assigned=assigned)


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
    found = schedulable(SyncTargetSpec(**spec), None, assigned=assigned)
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
    eviction = planned_eviction(SyncTargetSpec(**spec), NOW, None)
    assert next_eviction_look(eviction, assigned=assigned) == seconds


def test_the_moment_itself_is_due() -> None:
    spec = SyncTargetSpec(unschedulable=True, evict_after=format_time(NOW))
    eviction = planned_eviction(spec, NOW, None)
    assert eviction is not None
    assert eviction.seconds == 0.0


def test_a_taint_is_named() -> None:
    spec = SyncTargetSpec(taints=[taint("NoSchedule")])
    assert "'gpu'" in schedulable(spec, None, assigned=False).message


CORDONED: dict[str, Any] = {"unschedulable": True}


@pytest.mark.parametrize(
    ("spec", "unhealthy", "assigned", "wanted"),
    [
        # Without a period of its own a target is closed, and nothing is asked to leave.
        ({}, None, True, "True Schedulable"),
        ({}, 299.9, True, "True Schedulable"),
        ({}, 300.0, True, "False Evicting"),
        ({}, 300.0, False, "False Evicting"),
        ({"eviction_grace_period": "10m"}, 599.9, True, "True Schedulable"),
        ({"eviction_grace_period": "10m"}, 600.0, True, "False Evicting"),
        ({"eviction_grace_period": "10m"}, 600.0, False, "False Evicted"),
        ({"eviction_grace_period": "0s"}, 1e9, True, "True Schedulable"),
        ({"eviction_grace_period": "0h"}, 1e9, True, "True Schedulable"),
        ({"eviction_grace_period": "0h0m0.0s"}, 1e9, True, "True Schedulable"),
        ({"eviction_grace_period": "1h30m"}, 5399.0, True, "True Schedulable"),
        ({"eviction_grace_period": "1h30m"}, 5400.0, True, "False Evicting"),
        ({"eviction_grace_period": "0.5ms"}, 0.0, True, "True Schedulable"),
        ({"eviction_grace_period": "0.5ms"}, 0.0005, True, "False Evicting"),
        # What people say of the target comes first.
        (CORDONED, 1e9, True, "False Cordoned"),
        ({**CORDONED, "eviction_grace_period": "1s"}, 1e9, True, "False Cordoned"),
        ({**CORDONED, "evict_after": LATER}, 1e9, True, "False Cordoned"),
        ({**CORDONED, "evict_after": PAST}, 1e9, True, "False Evicting"),
        ({**CORDONED, "evict_after": PAST}, 1e9, False, "False Evicted"),
        # Neither a taint nor evictAfter alone moves anything away.
        ({"taints": [taint("NoSchedule")]}, 300.0, True, "False Evicting"),
        ({"evict_after": LATER}, 300.0, True, "False Evicting"),
        ({"evict_after": LATER}, None, True, "True EvictAfterIgnored"),
    ],
)
def test_an_unhealthy_target_is_evicted_when_its_grace_is_over(
    spec: dict[str, Any], unhealthy: float | None, assigned: bool, wanted: str
) -> None:
    found = schedulable(SyncTargetSpec(**spec), unhealthy, assigned=assigned)
    assert f"{found.status} {found.reason}" == wanted


@pytest.mark.parametrize(
    ("spec", "asks"),
    [
        ({}, False),
        ({"eviction_grace_period": "5m"}, True),
        ({"eviction_grace_period": "5m", "maintenance": Maintenance(suspend=True)}, False),
        ({**CORDONED, "evict_after": PAST, "maintenance": Maintenance(suspend=True)}, True),
    ],
)
def test_only_a_period_that_is_set_has_workloads_asked_to_leave(
    spec: dict[str, Any], asks: bool
) -> None:
    eviction = planned_eviction(SyncTargetSpec(**spec), NOW, 300.0)
    assert eviction is not None
    assert (eviction.seconds, eviction.asks) == (0.0, asks)


@pytest.mark.parametrize(
    ("spec", "unhealthy", "assigned", "seconds"),
    [
        ({}, 0.0, False, 300.0),
        ({}, 300.0, False, None),
        ({"eviction_grace_period": "0s"}, 0.0, False, None),
        ({"eviction_grace_period": "10m"}, 100.0, False, 500.0),
        ({"eviction_grace_period": "10m"}, 600.0, True, 60.0),
        ({"eviction_grace_period": "10m"}, 600.0, False, None),
        (CORDONED, 0.0, True, None),
    ],
)
def test_the_next_look_is_at_the_end_of_the_grace(
    spec: dict[str, Any], unhealthy: float, assigned: bool, seconds: float | None
) -> None:
    eviction = planned_eviction(SyncTargetSpec(**spec), NOW, unhealthy)
    assert next_eviction_look(eviction, assigned=assigned) == seconds
