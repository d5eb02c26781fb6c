"""Events that come again."""

from __future__ import annotations

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.informers.objects import CachedObject, ObjectDecoder
from kcpctl.informers.replays import Replays
from kcpctl.testing.listerwatcher import raw_object

decode = ObjectDecoder(CONFIG_MAPS, cluster="root", multi_cluster=False).decode


def made(version: int, uid: str = "") -> CachedObject:
    return decode(raw_object("a", version, metadata={"uid": uid}))


def test_what_is_older_than_the_state_is_known() -> None:
    replays = Replays()
    assert not replays.is_replay(made(3, "one"))
    replays.state("10")
    assert replays.is_replay(made(9, "one"))
    assert not replays.is_replay(made(10, "one"))


def test_a_deleted_object_does_not_come_back() -> None:
    replays = Replays()
    replays.deleted(made(13, "one"))
    assert replays.is_replay(made(12, "one"))
    assert not replays.is_replay(made(12, "two"))


def test_objects_without_a_uid_are_not_mistaken_for_each_other() -> None:
    replays = Replays()
    replays.deleted(made(13))
    assert not replays.is_replay(made(14))


def test_old_deletions_are_forgotten() -> None:
    replays = Replays()
    for number in range(1001):
        replays.deleted(made(13, f"uid-{number}"))
    assert not replays.is_replay(made(12, "uid-0"))
    assert replays.is_replay(made(12, "uid-1"))
    replays.state("20")
    assert not replays.is_replay(made(21, "uid-1"))
