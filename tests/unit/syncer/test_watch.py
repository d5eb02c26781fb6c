from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.informers import CachedObject, ObjectMetadata
from kcpctl.syncer.gate import Verdict
from kcpctl.syncer.watch import TargetWatch
from kcpctl.testing.listerwatcher import cached_object


def seen(
    name: str = "east", uid: str = "u", spec: Unstructured | None = None, **fields: Any
) -> CachedObject:
    meta = ObjectMetadata(name=name, uid=uid, **fields)
    raw = json.dumps({"metadata": msgspec.to_builtins(meta), "spec": spec or {}})
    return cached_object(f"root:demo|{name}", "root:demo", meta, raw.encode())


@pytest.fixture
def verdicts() -> list[Verdict]:
    return []


@pytest.fixture
def states() -> list[Unstructured]:
    return []


@pytest.fixture
def watch(verdicts: list[Verdict], states: list[Unstructured]) -> TargetWatch:
    return TargetWatch("east", "u", verdicts.append, states.append)


def test_each_state_of_the_right_sync_target_is_shown(
    watch: TargetWatch, states: list[Unstructured]
) -> None:
    watch.on_add(seen(uid="another"), is_initial=True)
    watch.on_add(seen("west"), is_initial=True)
    assert states == []
    watch.on_add(seen(), is_initial=False)
    watch.on_update(seen(), seen(deletion_timestamp="now"))
    assert len(states) == 2


def test_each_new_verdict_is_told_once(watch: TargetWatch, verdicts: list[Verdict]) -> None:
    watch.on_add(seen(), is_initial=True)
    watch.on_update(seen(), seen())
    watch.on_update(seen(), seen(deletion_timestamp="now"))
    watch.on_delete(seen(), final_state_unknown=False)
    watch.on_add(seen(uid="other"), is_initial=False)
    expected = [Verdict.ACTIVE, Verdict.DELETING, Verdict.GONE, Verdict.REPLACED]
    assert verdicts == expected


def test_a_suspension_and_its_end_are_told(watch: TargetWatch, verdicts: list[Verdict]) -> None:
    suspended = seen(spec={"maintenance": {"suspend": True}})
    watch.on_add(seen(), is_initial=True)
    watch.on_update(seen(), suspended)
    watch.on_update(suspended, seen())
    assert verdicts == [Verdict.ACTIVE, Verdict.SUSPENDED, Verdict.ACTIVE]


def restricted(types: str) -> CachedObject:
    return seen(spec={"supportedResourceTypes": json.loads(types)})


def test_other_restrictions_are_told_though_the_verdict_stays(
    watch: TargetWatch, verdicts: list[Verdict]
) -> None:
    for types in ("[]", '["secrets"]', '["secrets"]', '["configmaps"]'):
        watch.on_update(seen(), restricted(types))
    assert verdicts == [Verdict.ACTIVE] * 3
    assert watch.admission.types == {"configmaps"}


def test_restrictions_that_make_no_sense_pause_it(
    watch: TargetWatch, verdicts: list[Verdict]
) -> None:
    watch.on_add(restricted('["secrets"]'), is_initial=True)
    watch.on_update(seen(), restricted("7"))
    assert verdicts == [Verdict.ACTIVE, Verdict.UNCLEAR]
    assert watch.admission.types == {"secrets"}


def test_an_empty_list_means_that_it_is_gone(watch: TargetWatch, verdicts: list[Verdict]) -> None:
    watch.synced_without()
    assert verdicts == [Verdict.GONE]


def test_an_empty_list_changes_nothing_once_it_was_seen(watch: TargetWatch) -> None:
    watch.on_add(seen(), is_initial=True)
    watch.synced_without()
    assert watch.verdict is Verdict.ACTIVE


def test_others_do_not_matter(watch: TargetWatch, verdicts: list[Verdict]) -> None:
    watch.on_add(seen("west"), is_initial=True)
    watch.on_delete(seen("west"), final_state_unknown=False)
    assert verdicts == []


def test_the_logical_cluster_is_the_name_that_the_object_says(watch: TargetWatch) -> None:
    watch.on_add(seen(annotations={"kcp.io/cluster": "2f1m"}), is_initial=True)
    assert watch.cluster == "2f1m"


def test_without_logical_clusters_it_is_the_name_in_keys(watch: TargetWatch) -> None:
    watch.on_add(seen(), is_initial=True)
    assert watch.cluster == "root:demo"
