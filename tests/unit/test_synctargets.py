"""The public interface of SyncTargets: its pure functions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kcpctl.apis.convert import decode
from kcpctl.apis.workload import SYNCTARGETS, SyncTarget
from kcpctl.runtime import format_time
from kcpctl.synctargets import free, takes_workloads

NOW = 1_700_000_000.0


def target(ready: str = "True", *, metadata: Any = None, status: Any = None, **spec: Any) -> Any:
    found = {
        "apiVersion": SYNCTARGETS.api_version,
        "kind": SYNCTARGETS.kind,
        "metadata": {"name": "east", **(metadata or {})},
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": ready}], **(status or {})},
    }
    return decode(found, SyncTarget)


def test_a_ready_target_takes_workloads() -> None:
    assert takes_workloads(target(), NOW)
    assert takes_workloads(target(taints=[{"key": "gpu", "effect": "PreferNoSchedule"}]), NOW)


@pytest.mark.parametrize(
    "unfit",
    [
        target("False"),
        target("Unknown"),
        target(unschedulable=True),
        target(maintenance={"suspend": True}),
        target(taints=[{"key": "gpu", "effect": "NoSchedule"}]),
        target(taints=[{"key": "gpu", "effect": "NoExecute"}]),
        target(evictAfter=format_time(NOW)),
        target(evictAfter="0000-01-01T00:00:00Z"),
        target(metadata={"deletionTimestamp": format_time(NOW)}),
        target(status={"conditions": []}),
    ],
)
def test_others_take_none(unfit: SyncTarget) -> None:
    assert not takes_workloads(unfit, NOW)


def test_a_target_that_is_to_be_evicted_later_takes_workloads_until_then() -> None:
    later = target(evictAfter=format_time(NOW + 60))
    assert takes_workloads(later, NOW)
    assert not takes_workloads(later, NOW + 60)


def test_free_is_what_is_left_of_the_allocatable() -> None:
    status = {
        "capacity": {"cpu": "8"},
        "allocatable": {"cpu": "4", "memory": "1Gi"},
        "allocated": {"cpu": "1500m", "memory": "2Gi"},
    }
    assert free(target(status=status)) == {"cpu": Decimal("2.5"), "memory": Decimal(0)}


def test_capacity_stands_in_where_nothing_is_known_to_be_allocatable() -> None:
    assert free(target(status={"capacity": {"cpu": "8"}})) == {"cpu": Decimal(8)}


def test_a_figure_beyond_all_range_is_left_out() -> None:
    status = {"allocatable": {"cpu": "4", "memory": "1E900000", "pods": "2"}}
    found = target(status={**status, "allocated": {"pods": "1E900000"}})
    assert free(found) == {"cpu": Decimal(4)}
