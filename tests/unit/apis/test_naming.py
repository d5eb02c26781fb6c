from __future__ import annotations

import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.naming import (
    NamespaceLocator,
    SyncTargetLocator,
    base36,
    base62,
    downstream_namespace,
    state_label,
    sync_target_key,
    syncer_finalizer,
    syncer_id,
    tenant_id,
)

TARGET = SyncTargetLocator(cluster="root:org:ws", name="us-west1", uid="syncTargetUID")
LOCATOR = NamespaceLocator(sync_target=TARGET, cluster="root:org:ws", namespace="test")
LOCATOR_JSON = (
    '{"syncTarget":{"cluster":"root:org:ws","name":"us-west1","uid":"syncTargetUID"},'
    '"cluster":"root:org:ws","namespace":"test"}'
)
digests = st.binary(min_size=1, max_size=28)


@pytest.mark.parametrize(
    ("cluster", "name", "key"),
    [
        ("root:org:ws", "us-west1", "6ohB8yeXhwqTQVuBzJRgqcRJTpRjX7yTZu5g5g"),
        ("root", "cluster-1", "cnEypJVOK7QZQ7n2snhcYUpzkt75Lk9r2tlKHc"),
    ],
)
def test_the_sync_target_key_has_the_published_vectors(cluster: str, name: str, key: str) -> None:
    assert sync_target_key(cluster, name) == key


def test_the_syncer_id_has_the_published_vector() -> None:
    assert syncer_id("us-west1", "syncTargetUID") == "kcp-syncer-us-west1-1nuzj7pw"


def test_the_downstream_namespace_has_the_published_vector() -> None:
    assert downstream_namespace(LOCATOR) == "kcp-33jbiactwhg0"


def test_the_tenant_id_has_the_published_vector_and_ignores_the_namespace() -> None:
    assert tenant_id(LOCATOR) == "9Fn3Q4y5UDPmCOrYCujwdgCbD9SwOcKdcefYE7"
    assert LOCATOR.namespace == "test"


def test_a_locator_is_compact_json_in_a_fixed_order() -> None:
    assert LOCATOR.to_json() == LOCATOR_JSON


def test_empty_clusters_are_left_out_and_an_empty_namespace_is_not() -> None:
    bare = NamespaceLocator(sync_target=SyncTargetLocator(name="a", uid="u"))
    assert bare.to_json() == '{"syncTarget":{"name":"a","uid":"u"},"namespace":""}'


def test_a_locator_survives_the_round_trip() -> None:
    assert NamespaceLocator.from_json(LOCATOR_JSON) == LOCATOR


def test_the_older_path_is_read_as_the_cluster() -> None:
    old = LOCATOR_JSON.replace('"syncTarget":{"cluster"', '"syncTarget":{"path"')
    assert NamespaceLocator.from_json(old) == LOCATOR


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"syncTarget": 1}'])
def test_garbage_in_a_locator_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a namespace locator"):
        NamespaceLocator.from_json(text)


def test_a_leading_zero_byte_is_one_zero_in_base36_and_none_in_base62() -> None:
    assert base36(b"\0\0\1") == "001"
    assert base62(b"\0\0\1") == "1"


@given(digests)
def test_base36_gives_the_number_back(digest: bytes) -> None:
    assert int(base36(digest), 36) == int.from_bytes(digest, "big")


@given(digests)
def test_base62_gives_the_number_back_in_as_few_digits_as_it_has(digest: bytes) -> None:
    letters = string.digits + string.ascii_lowercase + string.ascii_uppercase
    text, number = base62(digest), 0
    for letter in text:
        number = number * 62 + letters.index(letter)
    assert number == int.from_bytes(digest, "big")
    assert not text.startswith("0")


@given(digests, digests)
def test_base62_keeps_numbers_apart(one: bytes, other: bytes) -> None:
    same_number = int.from_bytes(one, "big") == int.from_bytes(other, "big")
    assert (base62(one) == base62(other)) == same_number


@given(st.text(max_size=20))
def test_a_key_fits_a_label_name_and_value(name: str) -> None:
    key = sync_target_key("root", name)
    assert len(key) <= 63
    assert key.isalnum()
    assert state_label(key).startswith("state.workload.kcp.io/")
    assert syncer_finalizer(key) == f"workload.kcp.io/syncer-{key}"


def test_the_key_hashes_cluster_and_name_with_a_colon() -> None:
    digest = hashlib.sha224(b"c:n").digest()
    assert sync_target_key("c", "n") == base62(digest)


def test_the_syncer_id_of_a_long_name_is_still_a_namespace_name() -> None:
    one, other = syncer_id("a" * 63, "uid-1"), syncer_id("a" * 63, "uid-2")
    assert len(one) == 63
    assert one != other
