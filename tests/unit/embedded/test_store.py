from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded import store as store_module
from kcpctl.embedded.status import StatusError
from kcpctl.embedded.store import ObjectKey, Store, Stored, family_of


def put(
    store: Store, name: str, *, cluster: str = "root", namespace: str = "a", **data: Any
) -> int:
    obj = {"kind": "X", "apiVersion": "v1", "metadata": {"name": name}, **data}
    change = store.put("xs", ObjectKey(cluster, namespace, name), obj, is_custom=False)
    return change.revision


def names(store: Store, **where: Any) -> list[str]:
    return [key.name for key, _ in store.list("xs", **where)]


def test_each_commit_gets_the_next_revision_and_the_object_carries_it() -> None:
    store = Store(10)
    assert put(store, "a") == 11
    assert put(store, "a") == 12
    found = store.get("xs", ObjectKey("root", "a", "a"))
    assert found is not None
    assert found.obj["metadata"]["resourceVersion"] == "12"


def test_a_put_is_added_first_and_modified_after_with_the_old_object() -> None:
    store = Store()
    key = ObjectKey("root", "", "a")
    first = store.put("xs", key, {"metadata": {"name": "a"}}, is_custom=False)
    second = store.put("xs", key, {"metadata": {"name": "a"}}, is_custom=False)
    assert (first.type, first.old) == ("ADDED", None)
    assert second.type == "MODIFIED"
    assert second.old is first.object


def test_a_deletion_has_a_revision_of_its_own() -> None:
    store = Store()
    last = put(store, "a")
    change = store.delete("xs", ObjectKey("root", "a", "a"))
    assert change is not None
    assert change.revision == last + 1
    assert change.object.obj["metadata"]["resourceVersion"] == str(last + 1)
    assert change.old is not None
    assert change.old.revision == last


def test_deleting_what_is_not_there_changes_nothing() -> None:
    store = Store()
    assert store.delete("xs", ObjectKey("root", "a", "a")) is None
    assert store.revision == 1


def test_lists_are_ordered_as_etcd_orders_keys() -> None:
    store = Store()
    put(store, "x", namespace="a-b")
    put(store, "z", namespace="a")
    put(store, "b", namespace="a", cluster="other")
    assert [(k.cluster, k.namespace) for k, _ in store.list("xs")] == [
        ("other", "a"),
        ("root", "a-b"),
        ("root", "a"),
    ]


def test_lists_are_bounded_by_cluster_and_namespace() -> None:
    store = Store()
    put(store, "one")
    put(store, "two", namespace="b")
    put(store, "three", cluster="c2")
    assert names(store, cluster="root", namespace="a") == ["one"]
    assert names(store, cluster="c2") == ["three"]


def test_an_older_state_is_listed_from_the_history() -> None:
    store = Store()
    put(store, "a", v=1)
    then = put(store, "b")
    put(store, "a", v=2)
    put(store, "c")
    store.delete("xs", ObjectKey("root", "a", "b"))
    old = {key.name: stored.obj.get("v") for key, stored in store.list_at("xs", then)}
    assert old == {"a": 1, "b": None}


def test_a_forgotten_state_cannot_be_listed() -> None:
    store = Store()
    put(store, "a")
    put(store, "b")
    store.compact()
    with pytest.raises(StatusError, match="too old"):
        list(store.list_at("xs", store.revision - 1))
    assert [key.name for key, _ in store.list_at("xs", store.revision)] == ["a", "b"]


def test_the_history_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "HISTORY_LENGTH", 3)
    store = Store()
    for number in range(20):
        put(store, f"n{number}")
    with pytest.raises(StatusError, match="too old resource version"):
        store.follow("xs", "root", 2)
    store.follow("xs", "root", store.revision - 3).close()


async def test_a_cursor_sees_the_changes_after_its_revision_in_order() -> None:
    store = Store()
    start = put(store, "a")
    put(store, "b")
    put(store, "other", cluster="c2")
    cursor = store.follow("xs", "root", start)
    assert [change.key.name for change in cursor.pending()] == ["b"]
    put(store, "c")
    await asyncio.wait_for(cursor.wait(), 30)
    assert [change.key.name for change in cursor.pending()] == ["c"]
    assert cursor.pending() == []
    cursor.close()


async def test_a_wildcard_cursor_sees_every_cluster() -> None:
    store = Store()
    cursor = store.follow("xs", "*")
    put(store, "a", cluster="c1")
    put(store, "b", cluster="c2")
    assert [change.key.cluster for change in cursor.pending()] == ["c1", "c2"]


async def test_a_cursor_that_fell_behind_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "HISTORY_LENGTH", 2)
    store = Store()
    cursor = store.follow("xs", "root")
    for number in range(10):
        put(store, f"n{number}")
    with pytest.raises(StatusError) as caught:
        cursor.pending()
    assert caught.value.code == 410


async def test_ending_watches_wakes_the_followers_of_one_cluster_only() -> None:
    store = Store()
    here, there = store.follow("xs", "c1"), store.follow("xs", "c2")
    store.end_watches("xs", "c1")
    await asyncio.wait_for(here.wait(), 30)
    assert (here.ended, there.ended) == (True, False)
    store.wake_all()
    assert there.ended


def test_versions_before_a_restart_are_too_old() -> None:
    store = Store(1000)
    with pytest.raises(StatusError, match="too old"):
        store.follow("xs", "root", 999)


def test_an_object_is_encoded_once_for_each_version() -> None:
    calls = []

    def convert(obj: dict[str, Any]) -> dict[str, Any]:
        calls.append(obj)
        return {**obj, "apiVersion": "v2"}

    stored = Stored({"kind": "X", "apiVersion": "v1", "metadata": {}}, 1)
    assert stored.encoded("v2", convert) is stored.encoded("v2", convert)
    assert len(calls) == 1


def test_list_items_of_built_in_kinds_have_no_kind() -> None:
    stored = Stored({"metadata": {"name": "a"}, "apiVersion": "v1", "kind": "X"}, 1)
    assert msgspec.json.decode(stored.encoded("v1")) == stored.obj
    assert stored.encoded("v1").startswith(b'{"kind":"X","apiVersion":"v1",')
    assert msgspec.json.decode(stored.item("v1")) == {"metadata": {"name": "a"}}


def test_list_items_of_custom_kinds_keep_it_in_alphabetical_order() -> None:
    stored = Stored({"spec": {}, "kind": "X", "apiVersion": "g/v1"}, 1, is_custom=True)
    assert stored.item("g/v1") == b'{"apiVersion":"g/v1","kind":"X","spec":{}}'


def test_rewriting_changes_what_readers_see_without_a_commit() -> None:
    store = Store()
    revision = put(store, "a", v=1)
    store.rewrite("xs", "root", lambda obj: {**obj, "v": 2})
    found = store.get("xs", ObjectKey("root", "a", "a"))
    assert found is not None
    assert (found.obj["v"], found.revision, store.revision) == (2, revision, revision)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30), st.data())
def test_any_older_state_equals_what_was_listed_then(
    steps: list[tuple[str, bool]], data: st.DataObject
) -> None:
    store = Store()
    states = {store.revision: names(store)}
    for name, deletes in steps:
        if deletes:
            store.delete("xs", ObjectKey("root", "a", name))
        else:
            put(store, name)
        states[store.revision] = names(store)
    revision = data.draw(st.sampled_from(sorted(states)))
    assert [key.name for key, _ in store.list_at("xs", revision)] == states[revision]


async def test_what_is_bound_is_also_read_whatever_its_identity() -> None:
    store = Store()
    family = family_of("widgets.example.com")
    cursor = store.follow(family, "*")
    for cluster, identity in (("b", "one"), ("a", "two")):
        key = ObjectKey(cluster, "", "x")
        obj = {"metadata": {"name": identity}}
        store.put(f"widgets.example.com:{identity}", key, obj, is_custom=True)
    found = [stored.obj["metadata"]["name"] for _, stored in store.list(family)]
    assert found == ["two", "one"]
    store.delete("widgets.example.com:two", ObjectKey("a", "", "x"))
    assert [key.cluster for key, _ in store.list(family)] == ["b"]
    assert [(one.type, one.key.cluster) for one in cursor.pending()] == [
        ("ADDED", "b"),
        ("ADDED", "a"),
        ("DELETED", "a"),
    ]
    cursor.close()
    assert store.count("widgets.example.com", "b") == 0
