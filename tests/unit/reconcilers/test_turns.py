"""Whoever registers clusters that accept and never answer holds up his own."""

from __future__ import annotations

import pytest

from kcpctl.errors import Conflict, DeadlineExceeded, TransportTimeout
from kcpctl.reconcilers.turns import ClusterTurns, Postponed
from kcpctl.runtime import Deadline
from kcpctl.testing import FakeClock

SILENT = "https://silent:6443"
OTHER = "https://other:6443"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def turns(clock: FakeClock) -> ClusterTurns:
    return ClusterTurns(clock=clock, silent=2, by_workspace=True)


def time_out(
    turns: ClusterTurns, workspace: str, server: str, error: type[Exception] = TransportTimeout
) -> None:
    with pytest.raises(error), turns.turn(workspace, server):
        raise error("no answer within 10s")


def test_a_server_that_answers_is_talked_to_by_any_number(turns: ClusterTurns) -> None:
    with turns.turn("a", OTHER), turns.turn("a", OTHER), turns.turn("a", OTHER):
        assert Deadline.current() is not None
    assert Deadline.current() is None


@pytest.mark.parametrize("error", [TransportTimeout, DeadlineExceeded])
def test_one_that_did_not_answer_has_one_turn_in_its_workspace(
    turns: ClusterTurns, error: type[Exception]
) -> None:
    time_out(turns, "a", SILENT, error)
    with turns.turn("a", SILENT):
        with pytest.raises(Postponed) as caught, turns.turn("a", SILENT):
            raise AssertionError("had a turn")
        assert caught.value.seconds == 1.0
        with turns.turn("a", OTHER):
            pass
    with turns.turn("a", SILENT):
        pass


def test_nothing_is_kept_of_workspaces_whose_servers_are_forgiven(
    turns: ClusterTurns, clock: FakeClock
) -> None:
    for workspace in ("a", "b", "c"):
        time_out(turns, workspace, SILENT)
    clock.step(60)
    time_out(turns, "d", SILENT)
    assert list(turns._silent) == ["d"]


def test_an_error_that_comes_at_once_is_an_answer(turns: ClusterTurns) -> None:
    time_out(turns, "a", SILENT, Conflict)
    with turns.turn("a", SILENT), turns.turn("a", SILENT):
        pass


def test_all_silent_servers_together_have_a_part_of_the_workers(turns: ClusterTurns) -> None:
    for workspace in "abc":
        time_out(turns, workspace, SILENT)
    with turns.turn("a", SILENT), turns.turn("b", SILENT):
        with pytest.raises(Postponed), turns.turn("c", SILENT):
            raise AssertionError("had a turn")
        with turns.turn("d", SILENT):
            pass


def test_a_workspace_of_silent_servers_takes_turns_with_all_it_has(turns: ClusterTurns) -> None:
    for number in range(3):
        time_out(turns, "a", f"https://{number}:6443")
    with turns.turn("a", OTHER), pytest.raises(Postponed), turns.turn("a", SILENT):
        raise AssertionError("had a turn")


def test_without_workspaces_only_the_servers_count(clock: FakeClock) -> None:
    turns = ClusterTurns(clock=clock, silent=2, by_workspace=False)
    for number in range(3):
        time_out(turns, "root", f"https://{number}:6443")
    with turns.turn("root", "https://0:6443"), turns.turn("root", "https://1:6443"):
        with pytest.raises(Postponed), turns.turn("root", "https://2:6443"):
            raise AssertionError("had a turn")
        with turns.turn("root", OTHER):
            pass


def test_it_is_forgotten_after_a_minute(turns: ClusterTurns, clock: FakeClock) -> None:
    time_out(turns, "a", SILENT)
    clock.step(60)
    with turns.turn("a", SILENT), turns.turn("a", SILENT):
        pass
