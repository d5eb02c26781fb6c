"""Both forms of the committer against the embedded control plane, in two logical clusters."""

from __future__ import annotations

import copy

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.controller import commit, commit_applied
from kcpctl.errors import Conflict
from kcpctl.testing import ControlPlane


def changed(obj: Unstructured, **data: str) -> Unstructured:
    new = copy.deepcopy(obj)
    new["data"] = {**obj["data"], **data}
    return new


@pytest.mark.parametrize("applied", [False, True])
def test_a_commit_is_refused_when_the_object_changed_since_it_was_read(
    control_plane: ControlPlane, applied: bool
) -> None:
    """KCP-32, KCP-33: uid and resourceVersion are preconditions; the other cluster's stays."""
    maps = [control_plane.workspace().resource(CONFIG_MAPS) for _ in range(2)]
    obj: Unstructured = {
        "metadata": {"name": "same", "namespace": "default"},
        "data": {"a": "1", "b": "2"},
    }
    old, _ = (one.create(obj) for one in maps)
    if applied:
        old = maps[0].apply(
            {"apiVersion": "v1", "kind": "ConfigMap", **obj}, field_manager="m", force=True
        )

    def write(before: Unstructured, after: Unstructured) -> Unstructured | None:
        if applied:
            return commit_applied(maps[0], before, after, field_manager="m", force=True)
        return commit(maps[0], before, after)

    written = write(old, changed(old, a="5"))
    assert written is not None
    assert written["data"] == {"a": "5", "b": "2"}
    with pytest.raises(Conflict):
        write(old, changed(old, a="6"))
    maps[0].delete("same", namespace="default")
    maps[0].create({**obj, "data": written["data"]})
    with pytest.raises(Conflict):
        write(written, changed(written, a="7"))
    assert maps[0].get("same", namespace="default")["data"] == {"a": "5", "b": "2"}
    assert maps[1].get("same", namespace="default")["data"] == {"a": "1", "b": "2"}
