"""Compact informers: objects packed with a dictionary that is learned from them."""

from __future__ import annotations

import threading
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Transport
from kcpctl.informers import BadObject, CachedObject, EventHandler, SharedInformer
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.informers.packing import Packer
from kcpctl.testing.listerwatcher import ScriptedSource, raw_object

PLAIN = ObjectDecoder(CONFIG_MAPS, cluster="*", multi_cluster=True)


def compact() -> ObjectDecoder:
    return ObjectDecoder(CONFIG_MAPS, cluster="*", multi_cluster=True, compact=True)


def everything(obj: CachedObject) -> tuple[Any, ...]:
    identity = (obj.key, obj.cluster, obj.namespace, obj.uid, obj.resource_version)
    return (*identity, obj.generation, obj.deletion_timestamp, obj.raw, obj.meta, obj.decode())


def test_a_bad_object_is_refused_and_teaches_nothing() -> None:
    decoder = compact()
    with pytest.raises(BadObject):
        decoder.decode(raw_object("a", 1, kind="Secret", cluster="one"))
    raw = raw_object("a", 1, cluster="one", data={"k": "v" * 100})
    assert decoder.decode(raw).raw == bytes(raw)


def test_metadata_that_cannot_be_read_is_refused_when_it_is_asked_for() -> None:
    raw = raw_object("a", 1, cluster="one", metadata={"labels": {"app": 1}})
    with pytest.raises(BadObject, match=r"the metadata of one\|default/a cannot be read"):
        str(compact().decode(raw).meta)


@pytest.mark.parametrize(
    "first", [b"", b"{", b"\x00\xff" * 3, b"x" * 100_000, bytes(range(256)) * 64]
)
def test_whatever_the_first_texts_are_they_and_all_others_come_back(first: bytes) -> None:
    packer = Packer()
    usual = [b'{"kind":"ConfigMap","metadata":{"name":"%d"}}' % number for number in range(40)]
    packed = [(text, packer.pack(text)) for text in [first, first, *usual, first, *usual]]
    for text, (by, data) in packed:
        assert by.unpack(data) == text


@given(st.lists(st.binary(max_size=300) | st.sampled_from([b"", b"a" * 5000, b"ab" * 9000])))
def test_a_new_dictionary_never_breaks_what_was_packed_with_an_old_one(texts: list[bytes]) -> None:
    packer = Packer()
    packed = [packer.pack(text) for text in texts]
    for text, (by, data) in zip(texts, packed, strict=True):
        assert by.unpack(data) == text
    for text, (by, data) in reversed(list(zip(texts, packed, strict=True))):
        assert by.unpack(data) == text


def test_dictionaries_grow_as_doublings_do() -> None:
    packer = Packer()
    used = {packer.pack(b'{"name":"%d"}' % number).by for number in range(1000)}
    assert len(used) == 11
    assert max(len(dictionary.text) for dictionary in used) <= 12 * 1024


def test_an_object_like_others_takes_little() -> None:
    decoder = compact()
    data = {f"setting-{number}": "the same in all of them" for number in range(50)}
    for number in range(20):
        obj = decoder.decode(raw_object(f"o{number}", number, cluster="one", data=data))
    assert len(obj.raw) > 2000
    assert len(obj._data) < 200


def test_an_object_keeps_nothing_of_what_it_was_asked_for() -> None:
    obj = compact().decode(raw_object("a", 1, cluster="one", metadata={"labels": {"a": "b"}}))
    assert obj.meta.labels == {"a": "b"}
    assert obj._meta is None


def test_what_came_last_need_not_be_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, raw = compact(), raw_object("a", 1, cluster="one")
    monkeypatch.setattr("zlib.decompressobj", lambda *_: pytest.fail("unpacked"))
    assert decoder.decode(raw).raw == bytes(raw)


def test_a_resource_whose_objects_change_is_learned_anew() -> None:
    packer = Packer()
    for number in range(8):
        packer.pack(b'{"first":"%d"}' % number)
    later = b"".join(b'"%d":"a text that came later",' % number for number in range(50))
    sizes = [len(packer.pack(b"%d" % number + later).data) for number in range(60)]
    assert sizes[-1] < sizes[0] / 3


def test_threads_unpack_what_they_ask_for() -> None:
    packer = Packer()
    packed = [(text, packer.pack(text)) for text in (b"%d" % number * 50 for number in range(64))]
    wrong: list[bytes] = []

    def read() -> None:
        wrong.extend(
            text for _ in range(20) for text, (by, data) in packed if by.unpack(data) != text
        )

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class Log(EventHandler):
    """Writes down what it is told, to the last byte."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.told.append(("add", everything(obj), is_initial))

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self.told.append(("update", everything(old), everything(new)))

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self.told.append(("delete", everything(obj), final_state_unknown))


OBJECTS = st.builds(
    raw_object,
    st.sampled_from(["a", "b", "c"]),
    st.integers(1, 99),
    cluster=st.sampled_from(["one", "two"]),
    namespace=st.sampled_from(["", "default"]),
    uid=st.sampled_from(["u", "v"]),
    metadata=st.fixed_dictionaries(
        {},
        optional={
            "labels": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
            "generation": st.integers(1, 3),
            "deletionTimestamp": st.just("2026-01-01T00:00:00Z"),
            "managedFields": st.just([{"manager": "m"}]),
        },
    ),
    data=st.dictionaries(st.text(max_size=5), st.text(), max_size=3),
)
EVENTS = st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED"]), OBJECTS)


@given(st.lists(EVENTS | st.lists(OBJECTS, max_size=4), max_size=12))
def test_a_compact_informer_gives_what_a_plain_one_gives(
    steps: list[tuple[str, msgspec.Raw] | list[msgspec.Raw]],
) -> None:
    client = AsyncClient(cast(Transport, None), cluster_name="*", multi_cluster=True)
    results = []
    for decoder in (PLAIN, compact()):
        informer: SharedInformer[dict[str, Any]] = SharedInformer(
            client, CONFIG_MAPS, dict, source=ScriptedSource()
        )
        informer.add_index("labels", lambda obj: obj.meta.labels)
        log = Log()
        informer.add_handler(log)
        informer.replace([], "1")
        for step in steps:
            if isinstance(step, list):
                informer.replace([decoder.decode(raw) for raw in step], "1")
            else:
                informer.apply(step[0], decoder.decode(step[1]), "1")
        lister = informer.lister
        cached = [obj for key in list(lister.keys()) if (obj := lister.cached(key))]
        labels = {
            value: lister.by_index("labels", value) for value in lister.index_values("labels")
        }
        results.append((log.told, [everything(obj) for obj in cached], lister.list(), labels))
    assert results[0] == results[1]
