"""kubectl moves an object from client-side to server-side apply."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kcpctl.embedded.patch import server_side_apply, track_update
from kcpctl.embedded.schema import schema_for
from kcpctl.embedded.status import StatusError

CONFIG_MAP = schema_for("", "v1", "ConfigMap") or {}
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


def applied_by_client(annotation: str, **data: str) -> dict[str, Any]:
    """Return an object as kubectl's client-side apply leaves it."""
    obj = config_map(**data)
    obj["metadata"]["annotations"] = {ANNOTATION: annotation}
    return track_update(
        None, obj, "kubectl-client-side-apply", CONFIG_MAP, now=1e9, api_version="v1"
    )


def apply(live: dict[str, Any], manager: str = "kubectl", **data: str) -> dict[str, Any]:
    return server_side_apply(
        live, config_map(**data), manager, CONFIG_MAP, force=False, now=2e9, api_version="v1"
    )


def test_another_manager_conflicts_with_client_side_apply() -> None:
    live = applied_by_client(json.dumps(config_map(a="1")), a="1")
    with pytest.raises(StatusError, match="kubectl-client-side-apply"):
        apply(live, "somebody", a="2")


def test_a_field_that_somebody_changed_since_is_a_conflict() -> None:
    live = applied_by_client(json.dumps(config_map(a="1", b="1")), a="changed", b="1")
    with pytest.raises(StatusError) as caught:
        apply(live, a="2", b="2")
    assert [cause["field"] for cause in caught.value.status["details"]["causes"]] == [".data.a"]


@pytest.mark.parametrize("annotation", ["garbage", "[]", "{}"])
def test_an_annotation_that_says_nothing_yields_nothing(annotation: str) -> None:
    with pytest.raises(StatusError, match="conflict"):
        apply(applied_by_client(annotation, a="1"), a="2")


def test_kubectl_takes_what_client_side_apply_set() -> None:
    live = applied_by_client(json.dumps(config_map(a="1")), a="1")
    assert apply(live, a="2")["data"] == {"a": "2"}


def test_the_annotation_follows() -> None:
    live = applied_by_client(json.dumps(config_map(a="1")), a="1")
    text = apply(live, a="2")["metadata"]["annotations"][ANNOTATION]
    assert text.endswith("\n")
    assert json.loads(text) == config_map(a="2")


def test_no_annotation_is_added() -> None:
    assert "annotations" not in apply(config_map(a="1"), a="1")["metadata"]
