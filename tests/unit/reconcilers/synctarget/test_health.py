"""Ages by the observer's own clock (decision 4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.synctarget_status import SyncTargetStatus
from kcpctl.reconcilers.synctarget.health import Observer, heartbeat_stamps
from kcpctl.runtime import format_time
from kcpctl.testing.clock import FakeClock


def age(observer: Observer, *stamps: str, uid: str = "u") -> float | None:
    return observer.age("key", uid, "slot", stamps)


def test_without_a_stamp_there_is_no_age() -> None:
    assert age(Observer(FakeClock())) is None


def test_the_first_stamp_is_trusted() -> None:
    clock = FakeClock()
    assert age(Observer(clock), format_time(clock.time() - 42)) == pytest.approx(42)


def test_a_stamp_in_the_future_counts_as_now() -> None:
    clock = FakeClock()
    assert age(Observer(clock), format_time(clock.time() + 3600)) == 0


@pytest.mark.parametrize("skew", [-86_400, 86_400])
def test_a_stamp_that_changes_is_new_whatever_it_says(skew: int) -> None:
    clock = FakeClock()
    observer = Observer(clock)
    age(observer, format_time(clock.time()))
    clock.step(30)
    assert age(observer, format_time(clock.time() + skew)) == 0
    clock.step(7)
    assert age(observer, format_time(clock.time() - 7 + skew)) == pytest.approx(7)


def test_the_first_stamp_of_an_object_that_was_seen_without_one_is_new() -> None:
    clock = FakeClock()
    observer = Observer(clock)
    age(observer)
    assert age(observer, format_time(clock.time() - 1000)) == 0


@given(st.lists(st.floats(-1e6, 1e6), max_size=5))
def test_jumps_of_the_wall_clock_do_not_matter(jumps: list[float]) -> None:
    clock = FakeClock()
    observer = Observer(clock)
    stamp = format_time(clock.time())
    age(observer, stamp)
    for jump in jumps:
        clock.jump(jump)
    clock.step(5)
    assert age(observer, stamp) == pytest.approx(5)


def test_another_uid_is_another_object() -> None:
    clock = FakeClock()
    observer = Observer(clock)
    stamp = format_time(clock.time() - 10)
    age(observer, stamp)
    clock.step(100)
    clock.jump(50)
    assert age(observer, stamp) == pytest.approx(110)
    assert age(observer, stamp, uid="other") == pytest.approx(160)


def test_a_stamp_that_is_no_time_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        age(Observer(FakeClock()), "yesterday")


def test_last_sync_time_counts_only_without_a_heartbeat() -> None:
    assert heartbeat_stamps(SyncTargetStatus(last_sync_time="s")) == ("s",)
    both = SyncTargetStatus(last_sync_time="s", last_heartbeat_time="h")
    assert heartbeat_stamps(both) == ("h",)
    all_three = SyncTargetStatus(
        last_sync_time="s", last_heartbeat_time="h", last_syncer_heartbeat_time="l"
    )
    assert heartbeat_stamps(all_three) == ("l", "h")


def test_the_later_of_two_stamps_counts() -> None:
    clock = FakeClock()
    old, new = format_time(clock.time() - 100), format_time(clock.time() - 10)
    assert age(Observer(clock), old, new) == pytest.approx(10)
