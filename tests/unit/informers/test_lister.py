"""Listers."""

from __future__ import annotations

import msgspec
import pytest

from kcpctl.apis.meta import ApiObject
from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.errors import NotFound
from kcpctl.informers import CachedObject, Lister
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.informers.store import Store
from kcpctl.testing.listerwatcher import raw_object


class ConfigMap(ApiObject):
    data: dict[str, str] = msgspec.field(default_factory=dict)


@pytest.fixture
def store() -> Store:
    decoder = ObjectDecoder(CONFIG_MAPS, cluster="*", multi_cluster=True)
    store = Store()
    for cluster in ["one", "two"]:
        for namespace in ["default", "other"]:
            for name in ["a", "b"]:
                raw = raw_object(
                    name,
                    1,
                    cluster=cluster,
                    namespace=namespace,
                    metadata={"labels": {"name": name}},
                    data={"where": f"{cluster}/{namespace}"},
                )
                store.put(decoder.decode(raw))
    return store


@pytest.fixture
def lister(store: Store) -> Lister[ConfigMap]:
    return Lister(store, CONFIG_MAPS, ConfigMap)


def test_a_missing_object_is_the_apis_not_found(lister: Lister[ConfigMap]) -> None:
    """IDX-26."""
    with pytest.raises(
        NotFound, match="configmaps \"default/x\" not found in the cache of cluster 'one'"
    ) as caught:
        lister.cluster("one").namespace("default").get("x")
    assert (caught.value.code, caught.value.reason) == (404, "NotFound")
    with pytest.raises(NotFound, match='"a" not found'):
        lister.cluster("one").get("a")


def test_a_bad_selector_is_an_error(lister: Lister[ConfigMap]) -> None:
    with pytest.raises(ValueError, match="label selector"):
        lister.list("a in b")


def test_get_decodes_a_fresh_typed_object(lister: Lister[ConfigMap]) -> None:
    """IDX-10, CL-19: what is stored is not handed out to be changed."""
    obj = lister.get("one|default/a")
    obj.data["where"] = "changed"
    assert lister.get("one|default/a").data == {"where": "one/default"}


def test_views_see_their_cluster_and_namespace_only(lister: Lister[ConfigMap]) -> None:
    """KCP-08, IDX-24."""
    assert lister.cluster("two").namespace("other").get("a").data == {"where": "two/other"}
    in_namespace = lister.cluster("two").namespace("other").list()
    assert [obj.data["where"] for obj in in_namespace] == ["two/other"] * 2
    assert {obj.data["where"] for obj in lister.cluster("one").list()} == {
        "one/default",
        "one/other",
    }
    assert lister.cluster("three").list() == []
    assert len(lister.list()) == len(lister) == 8


def test_selectors_narrow_every_view(lister: Lister[ConfigMap]) -> None:
    assert len(lister.list("name=a")) == 4
    assert len(lister.cluster("one").list("name=a")) == 2
    assert len(lister.cluster("one").namespace("other").list("name=a")) == 1


def test_a_namespace_is_listed_by_its_index(
    lister: Lister[ConfigMap], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IDX-24: nothing else is looked at."""
    monkeypatch.setattr(Store, "all", lambda _: pytest.fail("everything was scanned"))
    assert len(lister.cluster("one").namespace("other").list("name=a")) == 1
    assert len(lister.cluster("one").list()) == 4


@pytest.fixture
def unlabelled(store: Store) -> CachedObject:
    """An object whose labels cannot be read."""
    raw = raw_object("bad", 1, cluster="one", metadata={"labels": {"name": 5}}, data={})
    obj = ObjectDecoder(CONFIG_MAPS, cluster="*", multi_cluster=True).decode(raw)
    store.put(obj)
    return obj


def test_without_a_selector_no_labels_are_read(store: Store, unlabelled: CachedObject) -> None:
    """IDX-25."""
    assert len(Lister(store, CONFIG_MAPS, dict).list()) == 9


def test_an_object_whose_labels_cannot_be_read_keeps_no_other_from_being_listed(
    lister: Lister[ConfigMap], unlabelled: CachedObject
) -> None:
    assert len(lister.list("name=a")) == 4
    assert len(lister.cluster("one").list("!other")) == 4


def test_an_index_gives_typed_objects_and_stored_ones(
    lister: Lister[ConfigMap], store: Store
) -> None:
    """IDX-23."""
    store.add_index("where", lambda obj: [obj.decode(ConfigMap).data["where"]])
    typed = lister.by_index("where", "one/other")
    assert [type(obj) for obj in typed] == [ConfigMap] * 2
    stored = lister.cached_by_index("where", "one/other")
    assert [obj.decode(ConfigMap) for obj in stored] == typed


def test_the_cache_can_be_read_without_decoding(lister: Lister[ConfigMap], store: Store) -> None:
    store.add_index("where", lambda obj: [obj.decode()["data"]["where"]])
    cached = lister.cached("one|default/a")
    assert cached is not None
    assert cached.meta.labels == {"name": "a"}
    assert lister.cached("one|default/x") is None
    assert len(lister.keys()) == 8
    assert [obj.metadata.name for obj in lister.by_index("where", "two/other")] == ["a", "b"]
    assert [obj.key for obj in lister.cached_by_index("where", "two/other")] == [
        "two|other/a",
        "two|other/b",
    ]
    assert min(lister.index_values("where")) == "one/default"


def test_an_index_is_asked_for_one_cluster_or_for_all(
    lister: Lister[ConfigMap], store: Store
) -> None:
    """KCP-26: equal namespaces, names and values in two clusters."""
    store.add_index("name", lambda obj: [obj.meta.name, "both"])
    one, two = lister.cluster("one"), lister.cluster("two")
    assert [obj.key for obj in one.cached_by_index("name", "a")] == ["one|default/a", "one|other/a"]
    assert {obj.data["where"] for obj in two.by_index("name", "a")} == {"two/default", "two/other"}
    assert [len(view.by_index("name", "both")) for view in (one, two)] == [4, 4]
    assert len(lister.by_index("name", "a")) == 4
    assert len(lister.by_index("name", "both")) == 8
    assert sorted(lister.index_values("name")) == ["a", "b", "both"]
    for nowhere in ("", "three"):
        assert lister.cluster(nowhere).by_index("name", "a") == []
    with pytest.raises(ValueError, match="no index named 'x'"):
        one.by_index("x", "a")


def test_an_index_of_one_cluster_follows_changes(lister: Lister[ConfigMap], store: Store) -> None:
    """KCP-26: what leaves one cluster, or a value, leaves nothing behind there."""
    store.add_index("name", lambda obj: [obj.meta.name])
    for key in ("one|default/a", "one|other/a"):
        store.remove(key)
    assert lister.cluster("one").by_index("name", "a") == []
    assert len(lister.cluster("two").by_index("name", "a")) == 2
    for key in ("two|default/a", "two|other/a"):
        store.remove(key)
    assert lister.index_values("name") == ["b"]


def test_no_object_of_another_cluster_is_looked_at(lister: Lister[ConfigMap], store: Store) -> None:
    """KCP-26: an index hit, however many objects of other clusters have the value."""
    store.add_index("all", lambda obj: ["x"])
    index = store._indexes["all"]
    assert index.keys("x", "one") is index.keys("x", "one")
    assert len(list(index.keys("x", "one"))) == 4


def test_built_in_indexes_are_of_one_cluster_each(lister: Lister[ConfigMap]) -> None:
    """KCP-26."""
    assert len(lister.cluster("one").by_index("cluster-and-namespace", "one/default")) == 2
    assert lister.cluster("one").by_index("cluster-and-namespace", "two/default") == []


def test_both_indexes_are_always_there(lister: Lister[ConfigMap]) -> None:
    """KCP-06, KCP-07, KCP-09 fixed: no lister ever scans the objects of all clusters."""
    assert sorted(lister.index_values("cluster")) == ["one", "two"]
    assert "one/other" in lister.index_values("cluster-and-namespace")
