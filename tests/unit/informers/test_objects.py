"""Cached objects and their decoder."""

from __future__ import annotations

import json
import threading
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.meta import ApiObject
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS
from kcpctl.informers import BadObject
from kcpctl.informers.objects import ObjectDecoder, version_of
from kcpctl.testing.listerwatcher import raw_object

PLAIN = ObjectDecoder(CONFIG_MAPS, cluster="root", multi_cluster=False)
WILDCARD = ObjectDecoder(CONFIG_MAPS, cluster="*", multi_cluster=True)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[]", "not a ConfigMap"),
        (b"{}", "not a ConfigMap"),
        (b'{"metadata":{}}', "without a name"),
        (b'{"kind":"Secret","metadata":{"name":"a"}}', "expected a ConfigMap, got a Secret"),
        (b'{"kind":"Table","metadata":{"name":""}}', "got a Table"),
        (b'{"metadata":{"name":"a","labels":[]}}', "metadata.labels"),
        (b'{"metadata":{"name":"a"', "not a ConfigMap"),
    ],
)
def test_what_is_not_an_object_of_the_kind_is_refused(raw: bytes, message: str) -> None:
    """RF-21, RF-36, FIFO-16, IDX-04."""
    with pytest.raises(BadObject, match=message):
        PLAIN.decode(msgspec.Raw(raw))


def test_an_object_whose_cluster_is_not_known_is_refused() -> None:
    """KCP-05: it would mix with those of other clusters."""
    with pytest.raises(
        BadObject, match=r"without a cluster \(annotation kcp.io/cluster\): default/a"
    ):
        WILDCARD.decode(raw_object("a", 1))


def test_a_bookmark_without_a_version_is_refused() -> None:
    with pytest.raises(BadObject, match="without a resource version"):
        version_of(msgspec.Raw(b'{"metadata":{}}'))


def test_a_bookmark_tells_its_version() -> None:
    assert version_of(raw_object("", 42)) == "42"


def test_the_key_on_a_plain_server_has_the_clients_cluster() -> None:
    """KCP-01; the annotation is not looked at."""
    obj = PLAIN.decode(raw_object("a", 1, cluster="other"))
    assert (obj.key, obj.cluster) == ("root|default/a", "root")


def test_the_key_on_a_server_of_workspaces_has_the_objects_cluster() -> None:
    """KCP-04."""
    obj = WILDCARD.decode(raw_object("a", 1, cluster="abc"))
    assert (obj.key, obj.cluster) == ("abc|default/a", "abc")


def test_a_cluster_scoped_object_has_no_namespace_in_its_key() -> None:
    assert PLAIN.decode(raw_object("a", 1, namespace="")).key == "root|a"


def test_metadata_is_decoded_and_the_rest_stays_bytes() -> None:
    raw = raw_object(
        "a",
        7,
        metadata={
            "generation": 3,
            "labels": {"app": "web"},
            "annotations": {"x": "y"},
            "finalizers": ["f"],
            "creationTimestamp": None,
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "o", "uid": "u"}],
        },
        data={"k": "v"},
    )
    obj = PLAIN.decode(raw)
    assert (obj.meta.resource_version, obj.meta.generation, obj.meta.uid) == ("7", 3, "uid-a")
    assert (obj.meta.labels, obj.meta.finalizers) == ({"app": "web"}, ("f",))
    assert obj.meta.owner_references[0].name == "o"
    assert obj.meta.creation_timestamp is None
    assert obj.meta.deletion_timestamp == "2026-01-01T00:00:00Z"
    assert obj.raw == bytes(raw)


def test_each_decode_makes_a_new_object() -> None:
    """INF-31: there is nothing shared to change by accident."""
    obj = PLAIN.decode(raw_object("a", 1, data={"k": "v"}))
    one = obj.decode()
    one["data"]["k"] = "changed"
    assert obj.decode()["data"] == {"k": "v"}


def test_decode_makes_a_typed_object() -> None:
    class ConfigMap(ApiObject):
        data: dict[str, str] = msgspec.field(default_factory=dict)

    obj = PLAIN.decode(raw_object("a", 1, data={"k": "v"})).decode(ConfigMap)
    assert (obj.metadata.name, obj.data) == ("a", {"k": "v"})


def test_list_items_of_built_in_kinds_get_their_kind_back() -> None:
    decoder = ObjectDecoder(DEPLOYMENTS, cluster="root", multi_cluster=False)
    obj = decoder.decode(msgspec.Raw(b'{"metadata":{"name":"a"},"spec":{}}'))
    assert obj.decode() == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {},
    }


def test_metadata_that_cannot_be_read_is_refused_when_it_is_asked_for() -> None:
    obj = PLAIN.decode(b'{"metadata":{"name":"a","labels":{"app":1}}}')
    with pytest.raises(BadObject, match=r"the metadata of root\|a cannot be read: .*labels"):
        str(obj.meta)


def test_metadata_is_decoded_once() -> None:
    obj = PLAIN.decode(raw_object("a", 1, metadata={"labels": {"app": "web"}}))
    assert obj.meta is obj.meta


def test_what_most_readers_need_is_there_without_decoding() -> None:
    obj = PLAIN.decode(
        b'{"metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"7","generation":3,'
        b'"deletionTimestamp":"2026-01-01T00:00:00Z","labels":{"app":1}}}'
    )
    assert (obj.namespace, obj.uid, obj.resource_version, obj.generation) == ("n", "u", "7", 3)
    assert obj.deletion_timestamp == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(("cluster", "namespace"), [("root:a", "n"), ("root", ""), ("abc", "n-1")])
def test_an_object_knows_its_namespace(cluster: str, namespace: str) -> None:
    decoder = ObjectDecoder(CONFIG_MAPS, cluster=cluster, multi_cluster=False)
    assert decoder.decode(raw_object("a", 1, namespace=namespace)).namespace == namespace


MANAGED = [{"manager": "m", "fieldsV1": {"f:spec": {"f:a": {}}}}]
METADATA = [
    {"name": "a", "managedFields": MANAGED},
    {"managedFields": MANAGED, "name": "a"},
    {"labels": {"managedFields": "x"}, "managedFields": MANAGED, "name": "a"},
    {"annotations": {"last": '{"managedFields":[]}'}, "managedFields": MANAGED, "name": "a"},
    {"name": "a", "managedFields": []},
]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("metadata", METADATA)
def test_managed_fields_are_dropped_and_nothing_else(
    metadata: dict[str, Any], separators: tuple[str, str]
) -> None:
    for obj in (
        {"kind": "ConfigMap", "metadata": metadata, "spec": {"a": 1}},
        # An object inside an object keeps its own.
        {
            "kind": "ConfigMap",
            "spec": {"template": {"managedFields": MANAGED}},
            "metadata": metadata,
        },
    ):
        raw = msgspec.Raw(json.dumps(obj, separators=separators).encode())
        decoded = PLAIN.decode(raw)
        wanted = {**obj, "metadata": {k: v for k, v in metadata.items() if k != "managedFields"}}
        assert json.loads(decoded.raw) == wanted


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "managedFields", "metadata", "\\", '"']), inner)
    ),
    max_leaves=12,
)


@given(spec=JSON, managed=JSON, first=st.booleans(), compact=st.booleans())
def test_whatever_the_object_holds_only_managed_fields_go(
    spec: Any, managed: Any, first: bool, compact: bool
) -> None:
    metadata = {"name": "a", "annotations": {"x": json.dumps({"managedFields": managed})}}
    full = (
        {"managedFields": managed, **metadata} if first else {**metadata, "managedFields": managed}
    )
    obj = {"spec": spec, "metadata": full, "kind": "ConfigMap"}
    separators = (",", ":") if compact else (", ", ": ")
    raw = msgspec.Raw(json.dumps(obj, separators=separators).encode())
    assert json.loads(PLAIN.decode(raw).raw) == {**obj, "metadata": metadata}


def test_an_object_does_not_keep_its_page_alive() -> None:
    """RF-20: the bytes are a copy."""
    whole = b'[{"metadata":{"name":"a"},"kind":"ConfigMap"}]' + b" " * 100_000
    (item,) = msgspec.json.decode(whole, type=list[msgspec.Raw])
    obj = PLAIN.decode(item)
    assert isinstance(obj.raw, bytes)
    assert len(obj.raw) < 100


def test_a_cached_object_cannot_be_changed() -> None:
    obj = PLAIN.decode(raw_object("a", 1))
    with pytest.raises(AttributeError):
        obj.key = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        obj.meta = obj.meta  # type: ignore[misc]
    with pytest.raises(AttributeError):
        obj.meta.name = "b"  # type: ignore[misc]


def test_repeated_clusters_are_one_string() -> None:
    one = WILDCARD.decode(raw_object("a", 1, namespace="space", cluster="abc"))
    other = WILDCARD.decode(raw_object("b", 2, namespace="space", cluster="abc"))
    assert one.cluster is other.cluster


def test_decoding_in_several_threads_at_once() -> None:
    obj = PLAIN.decode(raw_object("a", 1, data={"k": "v"}))
    results: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: results.append(
                all(obj.decode()["data"] == {"k": "v"} for _ in range(99))
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
