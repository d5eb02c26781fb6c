"""Fields that have no effect are told of, and make nothing invalid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kcpctl.apis.workload import SyncTarget
from kcpctl.reconcilers.synctarget.ignored import ignored_fields

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World


def target(annotations: dict[str, str] | None = None, **spec: Any) -> SyncTarget:
    metadata = {"name": "east", "annotations": annotations or {}}
    return msgspec.convert({"metadata": metadata, "spec": spec}, SyncTarget)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, ""),
        ({"syncer": {"mode": "push", "qps": 5, "upsyncPods": False}}, ""),
        ({"kcpCluster": "abc"}, ""),
        ({"kcpCluster": "root:team"}, ""),
        ({"kcpCluster": "root:other"}, "spec.kcpCluster"),
        ({"syncer": {"mode": "pull"}}, "spec.syncer.mode"),
        ({"syncer": {"upsyncPods": True}}, "spec.syncer.upsyncPods"),
        ({"syncer": {"apiImportPollInterval": "1m"}}, "spec.syncer.apiImportPollInterval"),
        ({"deployment": {"featureGates": {"a": False}}}, "spec.deployment.featureGates"),
    ],
)
def test_what_nobody_does_is_named(spec: dict[str, Any], field: str) -> None:
    found = ignored_fields(target(**spec), "abc", "root:team")
    assert [one.partition(" ")[0] for one in found] == ([field] if field else [])


def test_the_path_may_be_known_from_the_object_alone() -> None:
    marked = target({"kcp.io/path": "root:team"}, kcpCluster="root:team")
    assert ignored_fields(marked, "abc") == ()
    assert ignored_fields(target(kcpCluster="root:team"), "abc") != ()


def test_valid_stays_true_and_the_event_comes_once(world: World) -> None:
    world.make_ready()
    world.change_spec(syncer={"mode": "pull", "upsyncPods": True})
    world.reconcile()
    world.reconcile()
    assert world.condition("Valid") == "True Valid"
    assert world.message("Valid") == (
        "The spec passes every rule; without effect: spec.syncer.mode, spec.syncer.upsyncPods"
    )
    assert world.recorder.take() == ["Warning FieldsIgnored"]
    world.change_spec(syncer=None)
    world.reconcile()
    assert world.message("Valid") == "The spec passes every rule"
    assert world.recorder.take() == []
