from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kcpctl.apis.resource import DEPLOYMENTS, NODES
from kcpctl.controller import for_owner
from kcpctl.informers import CachedObject

Make = Callable[..., CachedObject]


def owner(**change: Any) -> dict[str, Any]:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u"}
    return {**reference, "controller": True, **change}


def test_a_child_is_about_its_controller_in_its_own_cluster_and_namespace(make: Make) -> None:
    child = make("web-1", cluster="east", namespace="default", owners=[owner()])
    assert list(for_owner(DEPLOYMENTS)(child)) == ["east|default/web"]


def test_a_cluster_scoped_owner_has_no_namespace_in_its_key(make: Make) -> None:
    reference = owner(apiVersion="v1", kind="Node", name="n1")
    child = make("pod", namespace="default", owners=[reference])
    assert list(for_owner(NODES)(child)) == ["root|n1"]


@pytest.mark.parametrize(
    "reference",
    [
        owner(kind="StatefulSet"),
        owner(apiVersion="extensions/v1"),
        owner(apiVersion="v1"),
        owner(controller=False),
    ],
)
def test_other_owners_do_not_count(make: Make, reference: dict[str, Any]) -> None:
    assert list(for_owner(DEPLOYMENTS)(make(owners=[reference]))) == []


def test_the_owners_version_does_not_matter(make: Make) -> None:
    child = make(owners=[owner(apiVersion="apps/v1beta1")])
    assert list(for_owner(DEPLOYMENTS)(child)) == ["root|web"]


def test_every_owner_counts_when_asked_for(make: Make) -> None:
    child = make(owners=[owner(controller=False), owner(name="other")])
    keys = list(for_owner(DEPLOYMENTS, controller_only=False)(child))
    assert keys == ["root|web", "root|other"]
