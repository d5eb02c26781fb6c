from __future__ import annotations

from typing import Any

import pytest

from kcpctl.apis.meta import ObjectMeta
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, SECRETS, SERVICES, Resource
from kcpctl.syncer.assignment import (
    Decision,
    decide,
    is_relevant,
    is_reserved,
    is_syncable_namespace,
)
from kcpctl.syncer.target import Target

TARGET = Target("root", "east", "uid")
STATE, FINALIZER = TARGET.state_label, TARGET.finalizer
DELETED = "2026-01-01T00:00:00Z"


def meta(**fields: Any) -> ObjectMeta:
    return ObjectMeta(name="web", namespace="shop", **fields)


SYNC = {"labels": {STATE: "Sync"}}
HELD = {**SYNC, "finalizers": [FINALIZER]}
LEAVING = {TARGET.deletion_annotation: DELETED}
SOFT = {TARGET.soft_finalizers_annotation: "example.com/wait"}


@pytest.mark.parametrize(
    ("name", "obj", "namespace", "has_copy", "decision"),
    [
        ("gone upstream", None, None, False, Decision.REMOVE),
        ("not assigned", meta(), meta(), False, Decision.IGNORE),
        ("not assigned, copy left", meta(), meta(), True, Decision.REMOVE),
        ("not assigned any more", meta(finalizers=[FINALIZER]), None, False, Decision.REMOVE),
        ("assigned", meta(**SYNC), None, False, Decision.SYNC),
        ("assigned to another", meta(labels={STATE + "x": "Sync"}), None, False, Decision.IGNORE),
        ("pending", meta(labels={STATE: ""}), None, False, Decision.IGNORE),
        ("upsync", meta(labels={STATE: "Upsync"}), None, False, Decision.IGNORE),
        ("by namespace", meta(), meta(**SYNC), False, Decision.SYNC),
        ("own label wins", meta(labels={STATE: ""}), meta(**SYNC), False, Decision.IGNORE),
        ("being deleted", meta(**HELD, deletion_timestamp=DELETED), None, False, Decision.REMOVE),
        (
            "deleted, ours not",
            meta(**SYNC, deletion_timestamp=DELETED),
            None,
            False,
            Decision.IGNORE,
        ),
        ("asked to leave", meta(**HELD, annotations=LEAVING), None, True, Decision.REMOVE),
        ("asked, has left", meta(**SYNC, annotations=LEAVING), None, False, Decision.REMOVE),
        ("row 24", meta(**HELD, annotations=LEAVING | SOFT), None, True, Decision.SYNC),
        (
            "soft finalizers hold a deletion too",
            meta(**HELD, annotations=SOFT, deletion_timestamp=DELETED),
            None,
            True,
            Decision.SYNC,
        ),
        (
            "a terminating object gets no finalizer any more",
            meta(**SYNC, annotations=SOFT, deletion_timestamp=DELETED),
            None,
            False,
            Decision.IGNORE,
        ),
        (
            "the namespace is asked to leave",
            meta(finalizers=[FINALIZER]),
            meta(**SYNC, annotations=LEAVING),
            True,
            Decision.REMOVE,
        ),
        (
            "the namespace has left",
            meta(),
            meta(**SYNC, annotations=LEAVING),
            False,
            Decision.IGNORE,
        ),
        (
            "empty soft finalizers hold nothing",
            meta(**HELD, annotations=LEAVING | {TARGET.soft_finalizers_annotation: " , "}),
            None,
            True,
            Decision.REMOVE,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_decision(
    name: str,
    obj: ObjectMeta | None,
    namespace: ObjectMeta | None,
    has_copy: bool,
    decision: Decision,
) -> None:
    assert decide(obj, namespace, TARGET, admitted=True, has_copy=has_copy) is decision


@pytest.mark.parametrize(
    ("name", "obj", "namespace", "has_copy", "decision"),
    [
        ("own label", meta(**SYNC), None, False, Decision.IGNORE),
        ("by namespace", meta(), meta(**SYNC), False, Decision.IGNORE),
        ("copy left", meta(**SYNC), None, True, Decision.REMOVE),
        ("held", meta(**HELD), None, False, Decision.REMOVE),
        ("soft finalizers", meta(**HELD, annotations=SOFT), None, True, Decision.REMOVE),
        ("asked to leave", meta(**SYNC, annotations=LEAVING), None, False, Decision.REMOVE),
        ("asked by namespace", meta(annotations=LEAVING), meta(**SYNC), False, Decision.IGNORE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_let_in_counts_as_not_assigned(
    name: str, obj: ObjectMeta, namespace: ObjectMeta | None, has_copy: bool, decision: Decision
) -> None:
    assert decide(obj, namespace, TARGET, admitted=False, has_copy=has_copy) is decision


def test_relevant_is_what_is_assigned_or_may_have_a_copy() -> None:
    assert is_relevant(meta(**SYNC), None, TARGET, admitted=True)
    assert is_relevant(meta(finalizers=[FINALIZER]), None, TARGET, admitted=True)
    assert is_relevant(meta(finalizers=[FINALIZER]), None, TARGET, admitted=False)
    assert is_relevant(meta(**SYNC, annotations=LEAVING), None, TARGET, admitted=False)
    assert not is_relevant(meta(**SYNC), meta(**SYNC), TARGET, admitted=False)
    assert not is_relevant(meta(), meta(), TARGET, admitted=True)


@pytest.mark.parametrize(
    ("name", "annotations", "syncable"),
    [
        ("shop", {}, True),
        ("default", {}, True),
        ("kube-system", {}, False),
        ("kube-public", {}, False),
        ("syncer-home", {}, False),
        ("kcp-33jbiactwhg0", {"kcp.io/namespace-locator": "{}"}, False),
    ],
)
def test_reserved_namespaces_and_copies_are_never_synced(
    name: str, annotations: dict[str, str], syncable: bool
) -> None:
    assert is_syncable_namespace(name, annotations, "syncer-home") is syncable


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "secret_type", "reserved"),
    [
        (CONFIG_MAPS, "shop", "kube-root-ca.crt", "", True),
        (CONFIG_MAPS, "shop", "settings", "", False),
        (SERVICES, "default", "kubernetes", "", True),
        (SERVICES, "shop", "kubernetes", "", False),
        (SECRETS, "shop", "token", "kubernetes.io/service-account-token", True),
        (SECRETS, "shop", "token", "Opaque", False),
        (DEPLOYMENTS, "shop", "kubernetes", "", False),
    ],
)
def test_what_each_cluster_makes_itself_is_reserved(
    resource: Resource, namespace: str, name: str, secret_type: str, reserved: bool
) -> None:
    assert is_reserved(resource, namespace, ObjectMeta(name=name), secret_type) is reserved
