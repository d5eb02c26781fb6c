"""A crash between any two writes of the deploy and the delete sequences: every point."""

from __future__ import annotations

import pytest

from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.runtime import IOLoop, format_time
from tests.unit.reconcilers.crashes import (
    Installation,
    Scenario,
    check_conflicts,
    check_every_crash,
    check_jumps,
)


def nothing(_: Installation) -> None:
    """Leave everything as it is."""


def managed(one: Installation) -> None:
    one.world.add_target()


def with_workloads(one: Installation) -> None:
    one.world.add_target()
    one.run_to_quiet()
    one.add_workloads()


def orphaning(one: Installation) -> None:
    with_workloads(one)
    one.world.change_spec(deletionPolicy="Orphan")


def change_image(one: Installation) -> None:
    one.world.change_spec(deployment={"image": "kcpctl-syncer:next"})


def renew_token(one: Installation) -> None:
    one.world.clock.step(0.9 * one.world.options.syncer_token_seconds)
    one.world.beat()  # the syncer lives all the time


def delete(one: Installation) -> None:
    one.world.up._delete(one.world.path(SYNCTARGETS, "east"), {})


def register(one: Installation) -> None:
    one.registry.add(createSyncTarget=True)


def register_with_workloads(one: Installation) -> None:
    register(one)
    one.run_to_quiet()
    one.add_workloads("synctarget-east")


def delete_registration(one: Installation) -> None:
    one.registry.stored["metadata"]["deletionTimestamp"] = format_time(one.world.clock.time())


SCENARIOS = [
    (Scenario("creation", nothing, managed), 14),
    (Scenario("another image", managed, change_image), 12),
    (Scenario("renewal of the token", managed, renew_token), 5),
    (Scenario("deletion", with_workloads, delete, gone=True), 15),
    (Scenario("deletion, Orphan", orphaning, delete), 15),
    (Scenario("registration", nothing, register), 18),
    (
        Scenario("end of a registration", register_with_workloads, delete_registration, gone=True),
        18,
    ),
    (Scenario("creation, then deletion", nothing, managed, then=delete, gone=True), 14),
]


@pytest.mark.parametrize(("scenario", "at_least"), SCENARIOS, ids=[s.name for s, _ in SCENARIOS])
def test_a_process_may_die_at_any_write_and_its_successor_ends_what_it_began(
    io_loop: IOLoop, scenario: Scenario, at_least: int
) -> None:
    assert check_every_crash(io_loop, scenario) >= at_least


@pytest.mark.parametrize("seconds", [3600, -3600])
@pytest.mark.parametrize("scenario", [one for one, _ in SCENARIOS[:5]], ids=lambda one: one.name)
def test_the_wall_clock_may_jump_an_hour_between_any_two_writes(
    io_loop: IOLoop, scenario: Scenario, seconds: float
) -> None:
    check_jumps(io_loop, scenario, seconds)


# A SyncTarget that is made in the course of things has another uid, and all names with it.
STORMS = [one for one, _ in SCENARIOS if one.name != "registration"]


@pytest.mark.parametrize("scenario", STORMS, ids=lambda one: one.name)
def test_a_storm_of_conflicts_costs_passes_and_changes_nothing(
    io_loop: IOLoop, scenario: Scenario
) -> None:
    check_conflicts(io_loop, scenario, times=5)
