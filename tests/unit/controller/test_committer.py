"""The committer: KCP-32."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.meta import ApiObject, ApiStruct, ObjectMeta, Unstructured
from kcpctl.client import PatchType
from kcpctl.controller import commit
from kcpctl.controller.committer import difference


class Spec(ApiStruct):
    replicas: int = 0
    image: str = ""


class Status(ApiStruct):
    ready: bool = False


class Thing(ApiObject):
    api_version: str = "example.com/v1"
    kind: str = "Thing"
    spec: Spec = msgspec.field(default_factory=Spec)
    status: Status = msgspec.field(default_factory=Status)


class Patches:
    def __init__(self) -> None:
        self.sent: list[tuple[str, Unstructured, dict[str, Any]]] = []

    def patch(
        self,
        name: str,
        body: Unstructured,
        *,
        namespace: str | None = None,
        type: PatchType = PatchType.MERGE,  # noqa: A002
        subresource: str = "",
        field_manager: str | None = None,
    ) -> str:
        assert type is PatchType.MERGE
        more = {"namespace": namespace, "subresource": subresource, "manager": field_manager}
        self.sent.append((name, body, more))
        return "the answer"


GUARD = {"uid": "u1", "resourceVersion": "7"}


def thing(**fields: Any) -> Unstructured:
    meta = {"name": "web", "namespace": "default", **GUARD}
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": meta, **fields}


def body(old: ApiObject | Unstructured, new: ApiObject | Unstructured) -> Unstructured:
    change = difference(old, new)
    assert change is not None
    return change.body


def test_status_and_spec_in_one_pass_is_a_programming_error() -> None:
    with pytest.raises(RuntimeError, match="Thing default/web: status and spec changed"):
        commit(Patches(), thing(), thing(spec={"a": 1}, status={"b": 2}))


def test_another_object_is_a_programming_error() -> None:
    other = thing()
    other["metadata"] = {**other["metadata"], "uid": "u2"}
    with pytest.raises(RuntimeError, match="as another object"):
        commit(Patches(), thing(), other)


def test_nothing_changed_sends_nothing() -> None:
    patches = Patches()
    assert commit(patches, thing(spec={"a": 1}), thing(spec={"a": 1})) is None
    assert patches.sent == []


def test_a_changed_spec_is_one_guarded_merge_patch() -> None:
    patches = Patches()
    old, new = thing(spec={"a": 1, "b": {"c": 1, "d": 2}}), thing(spec={"a": 1, "b": {"c": 3}})
    assert commit(patches, old, new, field_manager="kcpctl-test") == "the answer"
    expected = {"spec": {"b": {"c": 3, "d": None}}, "metadata": GUARD}
    more = {"namespace": "default", "subresource": "", "manager": "kcpctl-test"}
    assert patches.sent == [("web", expected, more)]


def test_a_changed_status_goes_to_the_subresource() -> None:
    patches = Patches()
    commit(patches, thing(status={"ready": False}), thing(status={"ready": True}))
    _, sent, more = patches.sent[0]
    assert sent == {"status": {"ready": True}, "metadata": GUARD}
    assert more["subresource"] == "status"


def test_a_cluster_scoped_object_has_no_namespace() -> None:
    patches = Patches()
    old: Unstructured = {"kind": "Node", "metadata": {"name": "n1"}}
    commit(patches, old, {**old, "spec": {"unschedulable": True}})
    _, sent, more = patches.sent[0]
    assert more["namespace"] is None
    assert sent["metadata"] == {}


def test_metadata_and_spec_may_change_together() -> None:
    new = thing(spec={"a": 1})
    new["metadata"] = {**new["metadata"], "labels": {"x": "y"}}
    assert body(thing(), new) == {"spec": {"a": 1}, "metadata": {**GUARD, "labels": {"x": "y"}}}


def test_what_the_server_owns_is_never_sent() -> None:
    new = thing()
    new["metadata"] = {
        "name": "web",
        "namespace": "default",
        "uid": "u1",
        "generation": 9,
        "managedFields": [{}],
    }
    assert difference(thing(), new) is None


def test_a_removed_status_is_sent_as_null() -> None:
    assert body(thing(status={"a": 1}), thing()) == {"status": None, "metadata": GUARD}


def test_lists_are_replaced_as_a_whole() -> None:
    assert body(thing(spec={"l": [1, 2]}), thing(spec={"l": [2]}))["spec"] == {"l": [2]}


def test_an_empty_object_in_place_of_nothing_is_a_change() -> None:
    assert body(thing(), thing(spec={"selector": {}}))["spec"] == {"selector": {}}


def test_null_counts_as_absent() -> None:
    assert difference(thing(spec={"a": None}), thing(spec={})) is None
    assert difference(thing(spec={}), thing(spec={"a": None, "b": {"c": None}})) is not None
    assert difference(thing(spec={"b": {}}), thing(spec={"b": {"c": None}})) is None


def test_structs_are_compared_as_they_are_sent() -> None:
    meta = ObjectMeta(name="web", namespace="default", uid="u1", resource_version="7")
    old = Thing(metadata=meta, spec=Spec(replicas=3, image="a"))
    new = copy.deepcopy(old)
    new.spec.replicas = 0
    assert body(old, new) == {"spec": {"replicas": None}, "metadata": GUARD}
    new = copy.deepcopy(old)
    new.status.ready = True
    assert body(old, new) == {"status": {"ready": True}, "metadata": GUARD}


def test_the_finalizers_of_a_struct_can_be_emptied() -> None:
    old = Thing(metadata=ObjectMeta(name="web", finalizers=["a/b"]))
    assert body(old, Thing(metadata=ObjectMeta(name="web")))["metadata"] == {"finalizers": None}


json_values = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
specs = st.dictionaries(st.sampled_from("abc"), json_values, max_size=3)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396, as its text has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


@given(specs, specs)
def test_applying_the_patch_gives_the_new_object(old: Any, new: Any) -> None:
    before, after = thing(spec=old), thing(spec=new)
    change = difference(before, after)
    if change is None:
        assert old == new
    else:
        assert merge(before, change.body) == after
