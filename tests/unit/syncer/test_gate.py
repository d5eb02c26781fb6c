from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.syncer.gate import GateClosed, Verdict, judge

if TYPE_CHECKING:
    from tests.unit.syncer.conftest import World

SUSPEND = {"maintenance": {"suspend": True}}


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (None, Verdict.GONE),
        ({"metadata": {"uid": "u"}}, Verdict.ACTIVE),
        ({"metadata": {"uid": "u"}, "spec": SUSPEND}, Verdict.SUSPENDED),
        ({"metadata": {"uid": "u"}, "spec": {"maintenance": {}}}, Verdict.ACTIVE),
        ({"metadata": {"uid": "other"}, "spec": SUSPEND}, Verdict.REPLACED),
        ({"metadata": {"uid": "u", "deletionTimestamp": "now"}, "spec": SUSPEND}, Verdict.DELETING),
        ({"metadata": {"uid": "u"}, "spec": {"selector": 7}}, Verdict.UNCLEAR),
        (
            {"metadata": {"uid": "u", "deletionTimestamp": "now"}, "spec": {"selector": 7}},
            Verdict.DELETING,
        ),
        ({"metadata": {"uid": "other"}}, Verdict.REPLACED),
        ({}, Verdict.REPLACED),
        ({"metadata": {"uid": "u", "deletionTimestamp": "now"}}, Verdict.DELETING),
        ({"metadata": {"uid": "other", "deletionTimestamp": "now"}}, Verdict.REPLACED),
    ],
)
def test_verdicts(found: dict[str, Any] | None, verdict: Verdict) -> None:
    assert judge(found, "u") is verdict


def test_a_suspension_is_noticed_before_the_watch_tells_it(world: World) -> None:
    found = world.up.objects[SYNCTARGETS.plural, "", "east"]
    found["spec"] = SUSPEND
    with pytest.raises(GateClosed, match=r"spec\.maintenance\.suspend"):
        world.gate.confirm()


def test_a_closed_gate_says_why(world: World) -> None:
    world.gate.require()
    world.gate.close("is being deleted")
    assert not world.gate.is_open
    with pytest.raises(GateClosed, match="SyncTarget 'east' is being deleted"):
        world.gate.require()


def test_a_failed_confirmation_does_not_close_the_gate(world: World) -> None:
    world.gate.confirm()
    world.up.drop(SYNCTARGETS, "", "east")
    with pytest.raises(GateClosed, match="does not exist"):
        world.gate.confirm()
    assert world.gate.is_open


def test_writes_in_a_row_ask_the_server_now_and_then(world: World) -> None:
    world.gate.reconfirm()
    world.up.drop(SYNCTARGETS, "", "east")
    world.gate.reconfirm()  # a moment later it is not asked again
    world.clock.step(0.5)
    with pytest.raises(GateClosed, match="does not exist"):
        world.gate.reconfirm()
