"""The index of keys by logical cluster."""

from __future__ import annotations

from kcpctl.workqueue.keys import KeysByCluster


def test_a_cluster_without_keys_leaves_nothing_behind() -> None:
    keys: KeysByCluster[object] = KeysByCluster()
    for number in range(10):
        for name in ["x", "y"]:
            keys.add(f"{number}|{name}")
        keys.discard(f"{number}|x")
        keys.discard(f"{number}|y")
    keys.add("a|1")
    keys.pop_cluster("a")
    assert keys._keys == {}


def test_a_cluster_goes_with_its_keys_and_no_others() -> None:
    keys: KeysByCluster[object] = KeysByCluster()
    for key in ["a|1", "a|ns/2", "ab|1", "1", ("a", 1)]:
        keys.add(key)
    assert keys.pop_cluster("a") == {"a|1", "a|ns/2"}
    assert keys.pop_cluster("a") == set()
    assert keys.pop_cluster("") == {"1", ("a", 1)}
