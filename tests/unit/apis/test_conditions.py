from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis import conditions
from kcpctl.apis.conditions import (
    Condition,
    get_condition,
    is_false,
    is_true,
    is_unknown,
    set_condition,
)
from kcpctl.runtime import format_time

T0 = 1_700_000_000.0
arbitrary = st.builds(
    Condition,
    type=st.sampled_from(["Ready", "Valid", "Applied", "SyncerDeployed", "Zed"]),
    status=st.sampled_from(["True", "False", "Unknown"]),
    severity=st.sampled_from(["", "Error", "Warning", "Info"]),
    reason=st.sampled_from(["A", "B"]),
    message=st.sampled_from(["", "m"]),
    observed_generation=st.sampled_from([0, 1]),
)


def test_the_transition_time_moves_only_with_the_status() -> None:
    old = set_condition([], conditions.true("Valid", "Valid"), T0)
    same = set_condition(old, conditions.true("Valid", "Other", "other words"), T0 + 60)
    flipped = set_condition(same, conditions.unknown("Valid", "X", ""), T0 + 120)

    assert same[0].last_transition_time == format_time(T0)
    assert same[0].reason == "Other"
    assert flipped[0].last_transition_time == format_time(T0 + 120)


def test_a_severity_is_kept_on_false_alone() -> None:
    odd = Condition(type="Valid", status="True", severity="Error")
    assert set_condition([], odd, T0)[0].severity == ""


def test_a_condition_of_a_writer_that_left_out_the_time_gets_one() -> None:
    old = [Condition(type="Valid", status="True")]
    new = set_condition(old, conditions.true("Valid", "Valid"), T0)
    assert new[0].last_transition_time == format_time(T0)


def test_absent_is_unknown_and_neither_true_nor_false() -> None:
    assert is_unknown([], "Ready")
    assert not is_true([], "Ready")
    assert not is_false([], "Ready")


def test_conditions_of_others_are_kept_as_they_are() -> None:
    other = Condition(
        type="SyncerReady", status="True", last_transition_time="2026-01-01T00:00:00Z"
    )
    assert other in set_condition([other], conditions.true("Valid", "Valid"), T0)


@given(st.lists(arbitrary, max_size=12))
def test_ready_is_first_the_others_sorted_and_types_unique(updates: list[Condition]) -> None:
    result: list[Condition] = []
    for number, update in enumerate(updates):
        result = set_condition(result, update, T0 + number)
    types = [one.type for one in result]
    assert len(set(types)) == len(types)
    rest = [one for one in types if one != "Ready"]
    assert rest == sorted(rest)
    assert "Ready" not in types[1:]


@given(st.lists(arbitrary, max_size=6), arbitrary)
def test_setting_twice_changes_nothing_the_second_time(
    updates: list[Condition], last: Condition
) -> None:
    result: list[Condition] = []
    for update in updates:
        result = set_condition(result, update, T0)
    once = set_condition(result, last, T0 + 1)
    assert set_condition(once, last, T0 + 99) == once


@given(st.lists(arbitrary, max_size=6))
def test_what_was_set_last_is_found(updates: list[Condition]) -> None:
    result: list[Condition] = []
    for update in updates:
        result = set_condition(result, update, T0)
        found = get_condition(result, update.type)
        assert found is not None
        severity = update.severity if update.status == "False" else ""
        assert found == msgspec.structs.replace(
            update, severity=severity, last_transition_time=format_time(T0)
        )


def test_a_message_is_cut_and_loses_control_characters() -> None:
    long = conditions.false(
        "Valid", conditions.ERROR, "ValidationFailed", "x\x1b[31m\n" + "y" * 5000
    )
    (found,) = set_condition([], long, 0.0)
    assert found.message.startswith("x [31m yyy")
    assert len(found.message) == 1024
