"""The store and its indexes: IDX of the client-go behaviours, with two clusters throughout."""

from __future__ import annotations

import threading

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.informers import CLUSTER_AND_NAMESPACE_INDEX, CLUSTER_INDEX, CachedObject
from kcpctl.informers.indexes import FunctionIndex
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.informers.store import Store
from kcpctl.testing.listerwatcher import raw_object

DECODER = ObjectDecoder(CONFIG_MAPS, cluster="*", multi_cluster=True)


def obj(
    name: str,
    version: int = 1,
    *,
    cluster: str = "one",
    namespace: str = "default",
    color: str = "",
) -> CachedObject:
    metadata = {"labels": {"color": color}} if color else {}
    return DECODER.decode(
        raw_object(name, version, cluster=cluster, namespace=namespace, metadata=metadata)
    )


def colors(obj: CachedObject) -> list[str]:
    return [color for color in obj.meta.labels.get("color", "").split("-") if color]


@pytest.fixture
def store() -> Store:
    store = Store()
    store.add_index("color", colors)
    return store


def keys(store: Store, index: str, value: str) -> list[str]:
    return sorted(found.key for found in store.by_index(index, value))


def test_an_unknown_index_is_an_error(store: Store) -> None:
    """IDX-19, CL-21."""
    with pytest.raises(ValueError, match="no index named 'size'; there are cluster, "):
        store.by_index("size", "large")


@pytest.mark.parametrize("name", ["color", "cluster", "cluster-and-namespace"])
def test_an_index_name_in_use_is_an_error_and_changes_nothing(store: Store, name: str) -> None:
    """IDX-21."""
    store.put(obj("a", color="red"))
    with pytest.raises(ValueError, match=f"an index named '{name}' already"):
        store.add_index(name, lambda _: ["other"])
    assert keys(store, "color", "red") == ["one|default/a"]


def test_an_index_function_that_raises_is_counted_and_the_object_is_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """IDX-22 fixed."""
    errors: list[int] = []
    store = Store(on_index_error=lambda: errors.append(1))

    def raises_on_bad(obj: CachedObject) -> list[str]:
        if obj.meta.name == "bad":
            raise KeyError("oops")
        return ["good"]

    store.add_index("broken", raises_on_bad)
    store.put(obj("bad"))
    store.put(obj("a"))
    assert keys(store, "broken", "good") == ["one|default/a"]
    assert store.get("one|default/bad") is not None
    assert len(errors) == 1
    assert "Index function failed" in caplog.text
    store.remove("one|default/bad")
    assert len(store) == 1


def test_removing_a_missing_key_is_no_error(store: Store) -> None:
    """IDX-08."""
    store.remove("one|default/a")
    assert len(store) == 0


def test_putting_is_adding_and_updating(store: Store) -> None:
    """IDX-07."""
    store.put(obj("a", color="red"))
    store.put(obj("a", 2, color="green"))
    stored = store.get("one|default/a")
    assert stored is not None
    assert (len(store), stored.resource_version) == (1, "2")
    assert keys(store, "color", "green") == ["one|default/a"]


def test_a_key_is_in_memory_once_however_often_its_object_changes(store: Store) -> None:
    first, second = obj("a"), obj("a", 2)
    store.put(first)
    assert second.key is not first.key
    store.put(second)
    assert second.key is first.key


def test_reads_return_what_is_stored_itself(store: Store) -> None:
    """IDX-10 without its danger: it cannot be changed."""
    stored = obj("a", color="red")
    store.put(stored)
    assert store.get(stored.key) is stored
    assert store.all()[0] is stored
    assert store.by_index("color", "red")[0] is stored
    with pytest.raises(AttributeError):
        stored.uid = "other"  # type: ignore[misc]


def test_a_value_is_in_use_as_long_as_an_object_has_it(store: Store) -> None:
    """IDX-20."""
    store.put(obj("a", color="red-blue"))
    store.put(obj("b", cluster="two", color="red"))
    assert sorted(store.index_values("color")) == ["blue", "red"]
    assert sorted(store.index_values(CLUSTER_INDEX)) == ["one", "two"]
    store.remove("one|default/a")
    assert store.index_values("color") == ["red"]
    assert store.index_values(CLUSTER_INDEX) == ["two"]


def test_an_update_moves_the_object_between_values(store: Store) -> None:
    """IDX-15."""
    store.put(obj("a", color="red-green"))
    store.put(obj("a", 2, color="green-blue"))
    assert keys(store, "color", "red") == []
    assert keys(store, "color", "green") == ["one|default/a"]
    assert sorted(store.index_values("color")) == ["blue", "green"]


def test_a_value_without_keys_is_gone(store: Store) -> None:
    """IDX-16, IDX-17."""
    store.put(obj("a", color="red"))
    store.put(obj("b", color="red"))
    store.remove("one|default/a")
    assert keys(store, "color", "red") == ["one|default/b"]
    store.remove("one|default/b")
    assert store.index_values("color") == []
    assert store.index_values(CLUSTER_INDEX) == []
    assert store.index_values(CLUSTER_AND_NAMESPACE_INDEX) == []


def test_an_object_is_found_once_under_a_value_that_it_has_twice(store: Store) -> None:
    """IDX-18."""
    store.put(obj("a", color="red-red"))
    assert keys(store, "color", "red") == ["one|default/a"]


def test_a_value_of_many_objects_is_in_memory_once() -> None:
    index = FunctionIndex("label", lambda obj: list(obj.meta.labels.values()), lambda: None)
    for name in ["a", "b"]:
        index.put(None, obj(name, color="a long value"))
    assert len({id(values[0]) for values in index._by_key.values()}) == 1


def test_what_is_no_text_is_no_value(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.add_index("versions", lambda obj: [int(obj.resource_version)])  # type: ignore[list-item]
    store.put(obj("a"))
    assert store.index_values("versions") == []
    assert "Index function failed" in caplog.text


def test_a_new_index_covers_what_is_stored() -> None:
    """IDX-21."""
    store = Store()
    store.put(obj("a", color="red"))
    store.add_index("color", colors)
    assert keys(store, "color", "red") == ["one|default/a"]


def test_an_index_function_that_changes_its_mind_leaves_nothing_behind() -> None:
    store = Store()
    answers = iter(["first", "second"])
    store.add_index("fickle", lambda _: [next(answers)])
    store.put(obj("a"))
    store.put(obj("a", 2))
    store.remove("one|default/a")
    assert store.index_values("fickle") == []


def test_clusters_do_not_mix(store: Store) -> None:
    """KCP-06, KCP-07, KCP-08."""
    for cluster in ["one", "two"]:
        store.put(obj("a", cluster=cluster))
        store.put(obj("a", cluster=cluster, namespace="other"))
        store.put(obj("a", cluster=cluster, namespace=""))
    assert keys(store, CLUSTER_INDEX, "one") == ["one|a", "one|default/a", "one|other/a"]
    assert keys(store, CLUSTER_AND_NAMESPACE_INDEX, "two/other") == ["two|other/a"]
    assert keys(store, CLUSTER_AND_NAMESPACE_INDEX, "two/") == ["two|a"]
    store.remove("one|default/a")
    assert store.get("two|default/a") is not None


def test_a_replacement_rebuilds_every_index(store: Store) -> None:
    """IDX-09."""
    store.put(obj("a", color="red"))
    new = obj("b", cluster="two", color="blue")
    before = store.replace({new.key: new})
    assert list(before) == ["one|default/a"]
    assert store.keys() == ["two|default/b"]
    assert store.index_values("color") == ["blue"]
    assert store.index_values(CLUSTER_INDEX) == ["two"]


def test_readers_see_one_state_or_the_other(store: Store) -> None:
    """IDX-06, IDX-09."""
    states = []
    for cluster in ["one", "two"]:
        made = [obj(f"o{n}", cluster=cluster, color="red") for n in range(50)]
        states.append({each.key: each for each in made})
    store.replace(dict(states[0]))
    mixed: list[set[str]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen = {found.cluster for found in store.by_index("color", "red")}
            if len(seen) != 1 or len(store.all()) != 50:
                mixed.append({str(each) for each in seen})

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(100):
        store.replace(dict(states[turn % 2]))
    done.set()
    for reader in readers:
        reader.join()
    assert mixed == []
