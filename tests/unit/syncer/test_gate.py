from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.naming import SYNCTARGET_FINALIZER
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.syncer.gate import Gate, GateClosed, Verdict, judge

if TYPE_CHECKING:
    from tests.unit.syncer.conftest import World

SUSPEND = {"maintenance": {"suspend": True}}
LEAVING = {"uid": "u", "deletionTimestamp": "now", "finalizers": ["x", SYNCTARGET_FINALIZER]}
OLD = "workload.kcp.io/synctarget-cleanup"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (None, Verdict.GONE),
        ({"metadata": {"uid": "u"}}, Verdict.ACTIVE),
        ({"metadata": {"uid": "u"}, "spec": SUSPEND}, Verdict.SUSPENDED),
        ({"metadata": {"uid": "u"}, "spec": {"maintenance": {}}}, Verdict.ACTIVE),
        ({"metadata": {"uid": "other"}, "spec": SUSPEND}, Verdict.REPLACED),
        ({"metadata": LEAVING, "spec": SUSPEND}, Verdict.DRAINING),
        ({"metadata": LEAVING}, Verdict.DRAINING),
        ({"metadata": LEAVING, "spec": {"deletionPolicy": "Delete"}}, Verdict.DRAINING),
        ({"metadata": LEAVING, "spec": {"deletionPolicy": "Orphan"}}, Verdict.DELETING),
        ({"metadata": {**LEAVING, "finalizers": [OLD]}}, Verdict.DRAINING),
        ({"metadata": {**LEAVING, "finalizers": ["of/another"]}}, Verdict.DELETING),
        ({"metadata": LEAVING, "spec": {"selector": 7}}, Verdict.DRAINING),
        ({"metadata": {"uid": "u"}, "spec": {"selector": 7}}, Verdict.UNCLEAR),
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


def test_a_gate_that_drains_passes_only_while_the_target_is_being_deleted(world: World) -> None:
    gate = Gate(world.target, world.up_client.resource(SYNCTARGETS), serves=Verdict.DRAINING)
    with pytest.raises(GateClosed, match="is served"):
        gate.confirm()
    found = world.up.objects[SYNCTARGETS.plural, "", "east"]
    found["metadata"] |= {"deletionTimestamp": "now", "finalizers": [SYNCTARGET_FINALIZER]}
    gate.confirm()
    found["spec"] = {"deletionPolicy": "Orphan"}
    with pytest.raises(GateClosed, match="left alone"):
        gate.confirm()


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
