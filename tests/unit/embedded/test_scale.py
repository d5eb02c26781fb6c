from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.kinds import BUILT_IN, CrdVersion, ResourceInfo
from kcpctl.embedded.scale import scale_of, with_replicas
from kcpctl.embedded.status import StatusError

DEPLOYMENTS = next(info for info in BUILT_IN if info.group_resource == "deployments.apps")
META = {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"x": "y"}}


def test_a_scale_has_the_replicas_and_the_selector_as_text() -> None:
    selector = {
        "matchLabels": {"b": "1", "a": "2"},
        "matchExpressions": [{"key": "c", "operator": "In", "values": ["z", "y"]}],
    }
    obj = {
        "metadata": META,
        "spec": {"replicas": 3, "selector": selector},
        "status": {"replicas": 2},
    }
    scale = scale_of(DEPLOYMENTS, obj)
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 2, "selector": "a=2,b=1,c in (y,z)"}
    assert "labels" not in scale["metadata"]


def test_custom_resources_choose_their_paths() -> None:
    paths = {
        "specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.size",
        "labelSelectorPath": ".status.selector",
    }
    info = ResourceInfo("g", "v1", "xs", "X", crd=CrdVersion("xs.g", None, scale=paths))
    obj = {"metadata": META, "spec": {"size": 4}, "status": {"size": 1, "selector": "a=b"}}
    scale = scale_of(info, obj)
    assert (scale["spec"], scale["status"]) == ({"replicas": 4}, {"replicas": 1, "selector": "a=b"})
    assert with_replicas(info, obj, {"spec": {"replicas": 9}})["spec"] == {"size": 9}


def test_writing_leaves_the_original_alone_and_takes_the_version() -> None:
    obj: dict[str, Any] = {"metadata": META, "spec": {"replicas": 1, "other": 1}}
    scale = {"metadata": {"resourceVersion": "9"}, "spec": {"replicas": 2}}
    changed = with_replicas(DEPLOYMENTS, obj, scale)
    assert changed["spec"] == {"replicas": 2, "other": 1}
    assert changed["metadata"]["resourceVersion"] == "9"
    assert obj["spec"]["replicas"] == 1


def test_no_version_in_a_scale_is_no_precondition() -> None:
    changed = with_replicas(DEPLOYMENTS, {"metadata": META, "spec": {}}, {"spec": {}})
    assert "resourceVersion" not in changed["metadata"]
    assert changed["spec"] == {"replicas": 0}


def test_negative_replicas_are_refused() -> None:
    with pytest.raises(StatusError) as caught:
        with_replicas(DEPLOYMENTS, {"metadata": META}, {"spec": {"replicas": -1}})
    assert caught.value.message.startswith('Scale.autoscaling "a" is invalid: spec.replicas')
