from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.controllers.rollout import (
    bounds,
    new_set_size,
    old_set_sizes,
    same_template,
    template_hash,
)


def deployment(replicas: int, surge: int | str = "25%", unavailable: int | str = "25%") -> Any:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"spec": {"replicas": replicas, "strategy": {"rollingUpdate": rolling}}}


def replica_set(replicas: int, available: int | None = None) -> Any:
    count = replicas if available is None else available
    return {"spec": {"replicas": replicas}, "status": {"availableReplicas": count}}


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "wanted"),
    [
        (4, "25%", "25%", (1, 1)),
        (3, "25%", "25%", (1, 0)),  # surge is rounded up, unavailable down
        (1, "25%", "25%", (1, 0)),
        (10, 0, 0, (0, 1)),  # or nothing could ever move
        (2, 1, 5, (1, 2)),
        (0, "25%", "25%", (0, 0)),
    ],
)
def test_bounds_are_rounded_as_the_real_controller_does(
    replicas: int, surge: int | str, unavailable: int | str, wanted: tuple[int, int]
) -> None:
    assert bounds(deployment(replicas, surge, unavailable)) == wanted


def test_a_new_set_grows_only_as_far_as_surge_allows() -> None:
    old, new = replica_set(4), replica_set(0)
    assert new_set_size(deployment(4, 1, 0), new, [old, new]) == 1
    assert new_set_size(deployment(4, 0, 1), new, [old, new]) == 0


def test_a_new_set_that_is_too_large_shrinks_at_once() -> None:
    assert new_set_size(deployment(2), replica_set(5), [replica_set(5)]) == 2


def test_old_pods_that_are_not_available_go_first() -> None:
    broken, sound = replica_set(2, available=0), replica_set(2)
    assert old_set_sizes(deployment(2, 1, 0), replica_set(1, available=0), [broken, sound])[0] == 0


def test_new_pods_that_are_not_available_yet_count_for_nothing() -> None:
    half_broken = replica_set(4, available=2)
    assert old_set_sizes(deployment(4, 1, 1), replica_set(1, available=0), [half_broken]) == [3]


def test_old_pods_stay_while_the_new_ones_are_not_available() -> None:
    assert old_set_sizes(deployment(3, 1, 0), replica_set(1, available=0), [replica_set(3)]) == [3]
    assert old_set_sizes(deployment(3, 1, 0), replica_set(1), [replica_set(3)]) == [2]


@given(
    replicas=st.integers(1, 12),
    surge=st.integers(0, 4),
    unavailable=st.integers(0, 4),
)
def test_every_rollout_ends_and_keeps_its_promises(
    replicas: int, surge: int, unavailable: int
) -> None:
    goal = deployment(replicas, surge, unavailable)
    most, least = bounds(goal)
    old, new = replica_set(replicas), replica_set(0)
    for _ in range(100):
        size = new_set_size(goal, new, [old, new])
        new = replica_set(size, available=new["status"]["availableReplicas"])
        (left,) = old_set_sizes(goal, new, [old])
        old = replica_set(left)
        assert new["spec"]["replicas"] + left <= replicas + most
        assert new["status"]["availableReplicas"] + left >= replicas - least
        new = replica_set(size)  # the new Pods become available
        if (size, left) == (replicas, 0):
            return
    raise AssertionError("the rollout does not end")


def test_a_template_is_the_same_whatever_its_hash_label_says() -> None:
    template = {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": []}}
    hashed = {"metadata": {"labels": {"app": "w", "pod-template-hash": "x"}}}
    other = {"spec": {"template": {**template, **hashed}}}
    assert same_template({"spec": {"template": template}}, other)
    changed = {**template, "spec": {"containers": [{"name": "c"}]}}
    assert not same_template({"spec": {"template": changed}}, other)


def test_a_hash_is_fit_for_a_name_and_depends_on_the_template() -> None:
    first, second = template_hash({"spec": {"a": 1}}), template_hash({"spec": {"a": 2}})
    assert first != second
    assert first != template_hash({"spec": {"a": 1}}, collisions=1)
    assert set(first) <= set("bcdfghjklmnpqrstvwxz2456789")
    assert 1 <= len(first) <= 10
