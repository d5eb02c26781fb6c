from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.logicalcluster import Key, cluster_of, is_valid_path, key_of, split_key

NAME = st.from_regex(r"[a-z0-9]([-a-z0-9.:]{0,20}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("cluster", "namespace", "name", "key"),
    [
        ("root", "default", "web", "root|default/web"),
        ("root", "", "east", "root|east"),
        ("", "default", "web", "default/web"),
        ("", None, "east", "east"),
    ],
)
def test_a_key_leaves_out_what_is_empty(
    cluster: str, namespace: str | None, name: str, key: str
) -> None:
    """KCP-01."""
    """IDX-01."""
    assert key_of(cluster, namespace, name) == key
    assert split_key(key) == (cluster, namespace or "", name)


@given(NAME | st.just(""), NAME | st.just(""), NAME)
def test_a_key_survives_joining_and_splitting(cluster: str, namespace: str, name: str) -> None:
    parsed = split_key(key_of(cluster, namespace, name))
    assert parsed == (cluster, namespace, name)
    assert str(parsed) == key_of(cluster, namespace, name)


@pytest.mark.parametrize("key", ["", "a|b|c", "a|b/c/d", "a/b/c", "a|", "|b", "a|b/", "a/b|c"])
def test_what_is_no_key_is_refused(key: str) -> None:
    """KCP-03."""
    """IDX-02."""
    with pytest.raises(ValueError, match="unexpected key"):
        split_key(key)


def test_the_cluster_is_read_from_its_annotation() -> None:
    """KCP-04: its name, and not its path."""
    assert cluster_of({"kcp.io/cluster": "abc", "kcp.io/path": "root:x"}) == "abc"
    assert cluster_of(None, "root") == "root"
    assert cluster_of({}, "root") == "root"
    assert isinstance(split_key("root|x"), Key)


@pytest.mark.parametrize(
    ("path", "valid"),
    [
        ("root", True),
        ("root:org:ws", True),
        ("", False),
        ("Root", False),
        ("a::b", False),
        ("*", False),
    ],
)
def test_paths(path: str, valid: bool) -> None:
    assert is_valid_path(path) is valid
