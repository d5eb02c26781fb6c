from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.patch import strategic_merge_patch
from kcpctl.embedded.schema import schema_for
from kcpctl.embedded.status import StatusError

POD = schema_for("", "v1", "Pod") or {}
DEPLOYMENT = schema_for("apps", "v1", "Deployment") or {}


def pod(*containers: Any, **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


def container(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


def merged(doc: Any, patch: Any, schema: Any = POD) -> Any:
    before = copy.deepcopy(doc)
    result = strategic_merge_patch(doc, patch, schema)
    assert doc == before
    return result


def names(result: Any) -> list[str]:
    return [item["name"] for item in result["spec"]["containers"]]


def test_elements_are_merged_by_their_key() -> None:
    doc = pod(container("a", image="1", tty=True), container("b", image="2"))
    result = merged(doc, pod(container("a", image="9", tty=None)))
    assert result == pod(container("a", image="9"), container("b", image="2"))


def test_a_new_element_goes_before_what_the_server_has() -> None:
    assert names(merged(pod(container("c")), pod(container("side")))) == ["side", "c"]


def test_an_element_is_deleted_by_directive() -> None:
    patch = pod({"name": "a", "$patch": "delete"})
    assert names(merged(pod(container("a"), container("b")), patch)) == ["b"]


def test_a_list_is_replaced_by_directive() -> None:
    patch = pod({"$patch": "replace"}, container("new"))
    assert merged(pod(container("a")), patch) == pod(container("new"))


def test_a_map_is_replaced_or_emptied_by_directive() -> None:
    doc = {"metadata": {"labels": {"a": "1"}, "name": "n"}}
    replaced = merged(doc, {"metadata": {"labels": {"$patch": "replace", "b": "2"}}})
    assert replaced["metadata"]["labels"] == {"b": "2"}
    emptied = merged(doc, {"metadata": {"labels": {"$patch": "delete"}}})
    assert emptied["metadata"] == {"labels": {}, "name": "n"}


def test_lists_without_a_strategy_are_replaced() -> None:
    doc = pod(container("a", args=["1", "2"]))
    assert merged(doc, pod(container("a", args=["3"]))) == pod(container("a", args=["3"]))


def test_lists_of_scalars_are_united() -> None:
    doc = {"metadata": {"finalizers": ["a/b"]}}
    result = merged(doc, {"metadata": {"finalizers": ["c/d", "a/b"]}})
    assert sorted(result["metadata"]["finalizers"]) == ["a/b", "c/d"]


def test_elements_of_a_list_of_scalars_are_deleted_by_directive() -> None:
    doc = {"metadata": {"finalizers": ["a/b", "c/d"]}}
    result = merged(doc, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"]}})
    assert result == {"metadata": {"finalizers": ["c/d"]}}


def test_the_order_of_a_list_is_set_by_directive() -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
            "containers": [container("c", image="3")],
        }
    }
    result = merged(pod(container("a"), container("b")), patch)
    assert names(result) == ["b", "c", "a"]


def test_an_order_that_contradicts_the_patch_is_refused() -> None:
    patch = {
        "spec": {"$setElementOrder/containers": [{"name": "x"}], **pod(container("y"))["spec"]}
    }
    with pytest.raises(StatusError) as caught:
        merged(pod(container("a")), patch)
    assert caught.value.code == 500
    assert "doesn't match $setElementOrder list" in caught.value.message


def test_keys_that_are_not_retained_go() -> None:
    doc = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert merged(doc, patch, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_a_retained_key_list_that_misses_a_key_is_refused() -> None:
    patch = {"spec": {"strategy": {"$retainKeys": [], "type": "Recreate"}}}
    with pytest.raises(StatusError) as caught:
        merged({"spec": {"strategy": {}}}, patch, DEPLOYMENT)
    assert (caught.value.code, caught.value.message) == (400, "invalid patch format of retainKeys")


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"spec": {"$patch": "bogus"}}, "unknown patch type: bogus in map: map[$patch:bogus]"),
        (
            pod({"name": "x", "$patch": "bogus"}),
            "unknown patch type: bogus in map: map[$patch:bogus name:x]",
        ),
        (pod({"image": "x"}), "map: map[image:x] does not contain declared merge key: name"),
        (pod("x"), "list element types are not identical: [[map[name:c]] [x]]"),
    ],
)
def test_directives_and_elements_that_make_no_sense_are_500(patch: Any, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        merged(pod(container("c")), patch)
    assert (caught.value.code, caught.value.message) == (500, message)


def test_a_patch_is_an_object() -> None:
    with pytest.raises(StatusError) as caught:
        merged({}, [])
    assert caught.value.code == 400
    assert caught.value.message == (
        "json: cannot unmarshal array into Go value of type map[string]interface {}"
    )


def test_nulls_and_directives_do_not_get_into_new_parts() -> None:
    patch = {
        "spec": {"nodeSelector": {"a": None, "b": "1"}, **pod(container("x", tty=None))["spec"]}
    }
    assert merged({}, patch) == {
        "spec": {"nodeSelector": {"b": "1"}, "containers": [{"name": "x"}]}
    }


CONTAINERS = st.lists(
    st.builds(container, st.sampled_from("abcd"), image=st.sampled_from("xyz")),
    unique_by=lambda item: str(item["name"]),
    max_size=4,
)


@given(CONTAINERS, CONTAINERS)
def test_a_merge_holds_every_element_once_and_is_stable(mine: Any, patch: Any) -> None:
    once = merged(pod(*mine), pod(*patch))
    assert sorted(names(once)) == sorted({item["name"] for item in mine + patch})
    images = {item["name"]: item["image"] for item in once["spec"]["containers"]}
    assert all(images[item["name"]] == item["image"] for item in patch)
    again = merged(once, pod(*patch))
    assert again == once


@given(CONTAINERS)
def test_merging_a_document_into_itself_changes_nothing(items: Any) -> None:
    assert merged(pod(*items), pod(*items)) == pod(*items)
    assert merged(pod(*items), {}) == pod(*items)
