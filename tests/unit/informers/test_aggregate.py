"""Several servers of one resource as one informer: KCP of the client-go behaviours."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Transport
from kcpctl.errors import Forbidden, KcpctlError
from kcpctl.informers import AggregateInformer, CachedObject, EventHandler, SharedInformer
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.runtime import IOLoop
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import LiveSource, event, page, raw_object

Json = dict[str, Any]


class Recorder(EventHandler):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.calls.append(f"add {obj.key}" + (" initial" if is_initial else ""))

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        versions = f"{old.meta.resource_version}->{new.meta.resource_version}"
        self.calls.append(f"update {new.key} {versions}")

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self.calls.append(f"delete {obj.key}" + (" unknown" if final_state_unknown else ""))


def client() -> AsyncClient:
    return AsyncClient(cast(Transport, None), cluster_name="*", multi_cluster=True)


class Rig:
    """Shards ``a`` and ``b``, with an object of one name in a cluster each."""

    def __init__(self, io_loop: IOLoop) -> None:
        self.io_loop = io_loop
        self.clock = FakeClock()
        self.a, self.b, self.c = client(), client(), client()
        self.sources = {
            self.a: LiveSource(page(1000, raw_object("x", 999, cluster="one"))),
            self.b: LiveSource(page(10, raw_object("x", 9, cluster="two"))),
            self.c: LiveSource(page(20, raw_object("x", 9, cluster="two"))),
        }
        self.unmakeable: set[AsyncClient] = set()
        self.aggregate: AggregateInformer[Json] = AggregateInformer(
            CONFIG_MAPS, dict, io_loop, make=self._make, clock=self.clock
        )
        self.heard = Recorder()
        self.aggregate.add_handler(self.heard)

    def _make(self, name: str, one: AsyncClient) -> SharedInformer[Json]:
        if one in self.unmakeable:
            raise ValueError("no such endpoint")
        self.made: SharedInformer[Json] = SharedInformer(
            one,
            CONFIG_MAPS,
            dict,
            source=self.sources[one],
            name=name,
            clock=self.clock,
            rng=random.Random(1),
        )
        return self.made

    def set(self, **members: AsyncClient) -> list[str]:
        """Set the members and return what was heard then."""
        before = len(self.heard.calls)
        self.aggregate.set_members(members)
        self.settle()
        return self.heard.calls[before:]

    def settle(self, act: Callable[[], object] = lambda: None, *, seconds: float = 0) -> None:
        """Do something on the loop and let everything follow."""

        async def settle() -> None:
            act()
            for _ in range(40):
                await asyncio.sleep(0)

        self.io_loop.run(settle())
        if seconds:
            self.clock.step(seconds)
            self.io_loop.run(settle())

    def send(self, shard: AsyncClient, type_: str, name: str, version: int, cluster: str) -> None:
        sent = event(type_, raw_object(name, version, cluster=cluster))
        self.settle(lambda: self.sources[shard].send(sent))


@pytest.fixture
def rig() -> Iterator[Rig]:
    with IOLoop() as io_loop:
        rig = Rig(io_loop)
        yield rig
        rig.aggregate.close()
        assert [source.open_watches for source in rig.sources.values()] == [0, 0, 0]


def test_it_is_not_synced_before_the_members_are_known(rig: Rig) -> None:
    """KCP-24 fixed: no members is not the same as none known."""
    registration = rig.aggregate.add_handler(Recorder())
    before = (rig.aggregate.synced, registration.synced)
    assert "not known yet" in rig.aggregate.waiting_for[0]
    rig.set()
    assert before == (False, False)
    assert rig.aggregate.synced
    assert registration.synced


def test_it_is_synced_when_all_members_are(rig: Rig) -> None:
    """KCP-23, KCP-24; and KCP-25: one that fails hurts no other."""
    failing = rig.sources[rig.b]
    failing.state, state = Forbidden("not you"), failing.state
    rig.set(a=rig.a, b=rig.b)
    assert rig.heard.calls == ["add one|default/x initial"]
    assert not rig.aggregate.synced
    assert rig.aggregate.waiting_for == [f"b: configmaps of *: {Forbidden('not you')}"]
    assert list(rig.aggregate.last_errors) == ["b"]
    rig.send(rig.a, "ADDED", "y", 1001, "one")
    failing.state = state
    rig.settle(seconds=1)
    assert rig.aggregate.waiting_for == []
    assert rig.heard.calls[1:] == ["add one|default/y", "add two|default/x initial"]


def test_handlers_hear_of_members_that_come_later(rig: Rig) -> None:
    """KCP-23."""
    rig.set(a=rig.a)
    assert rig.set(a=rig.a, b=rig.b) == ["add two|default/x initial"]
    rig.send(rig.b, "MODIFIED", "x", 11, "two")
    assert rig.heard.calls[-1] == "update two|default/x 9->11"


def test_a_late_handler_is_told_of_every_member(rig: Rig) -> None:
    """KCP-23."""
    rig.set(a=rig.a, b=rig.b)
    registration = rig.aggregate.add_handler(late := Recorder())
    rig.settle()
    assert registration.synced
    assert sorted(late.calls) == ["add one|default/x initial", "add two|default/x initial"]
    registration.remove()
    rig.send(rig.a, "ADDED", "y", 1001, "one")
    assert len(late.calls) == 2


def test_lister_and_views_read_all_members(rig: Rig) -> None:
    """KCP-08, KCP-12 and KCP-26 over shards."""
    rig.aggregate.add_index("name", lambda obj: [obj.meta.name])
    rig.aggregate.cluster("two").add_handler(two := Recorder())
    rig.set(a=rig.a, b=rig.b)
    lister = rig.aggregate.lister
    assert sorted(lister.keys()) == ["one|default/x", "two|default/x"]
    assert len(lister.by_index("name", "x")) == 2
    assert len(lister.cluster("one").list()) == 1
    assert two.calls == ["add two|default/x initial"]


def test_setting_the_same_members_again_does_nothing(rig: Rig) -> None:
    """KCP-25."""
    rig.set(a=rig.a, b=rig.b)
    assert rig.set(b=rig.b, a=rig.a) == []
    assert [len(rig.sources[one].list_versions) for one in (rig.a, rig.b)] == [1, 1]


def test_a_member_that_goes_takes_its_objects_with_it(rig: Rig) -> None:
    """KCP-24 fixed: with deletes, and nothing of it stays (KCP-35)."""
    rig.set(a=rig.a, b=rig.b)
    assert rig.set(b=rig.b) == ["delete one|default/x unknown"]
    assert rig.aggregate.lister.keys() == ["two|default/x"]
    assert rig.sources[rig.a].open_watches == 0
    assert rig.set() == ["delete two|default/x unknown"]
    assert rig.aggregate._shown_by == {}
    assert rig.aggregate.synced


def test_a_member_that_went_is_not_heard_any_more(rig: Rig) -> None:
    """KCP-24."""
    rig.set(a=rig.a)
    informer = rig.made
    rig.set()
    late = ObjectDecoder(CONFIG_MAPS, cluster="*", multi_cluster=True).decode(
        raw_object("late", 1001, cluster="one")
    )
    rig.settle(lambda: informer.apply("ADDED", late, "1001"))
    assert rig.aggregate.lister.keys() == []


def test_an_object_moves_when_another_member_shows_it(rig: Rig) -> None:
    """KCP-24 fixed: a key that two members show is one object, and goes with the last of them."""
    rig.set(a=rig.a, b=rig.b)
    rig.send(rig.b, "ADDED", "x", 11, "one")
    assert rig.heard.calls[2:] == ["update one|default/x 999->11"]
    rig.send(rig.a, "DELETED", "x", 1001, "one")
    assert rig.set(b=rig.b) == []
    assert sorted(rig.set()) == ["delete one|default/x unknown", "delete two|default/x unknown"]


def test_an_object_of_a_member_that_goes_is_the_others_then(rig: Rig) -> None:
    """KCP-24 fixed: its ownership moves, and nobody hears of a delete."""
    rig.set(a=rig.a, b=rig.b)
    rig.send(rig.b, "ADDED", "x", 11, "one")
    assert rig.set(a=rig.a) == ["update one|default/x 11->999", "delete two|default/x unknown"]


def test_versions_of_two_members_are_not_compared(rig: Rig) -> None:
    """KCP-22: what was shown last counts, though its version is lower, and then what is left."""
    rig.set(a=rig.a, b=rig.b)
    rig.send(rig.b, "ADDED", "x", 11, "one")
    assert rig.aggregate.lister.get("one|default/x")["metadata"]["resourceVersion"] == "11"
    rig.send(rig.a, "MODIFIED", "x", 1001, "one")
    assert rig.aggregate.lister.get("one|default/x")["metadata"]["resourceVersion"] == "11"
    rig.send(rig.b, "DELETED", "x", 12, "one")
    assert rig.aggregate.lister.get("one|default/x")["metadata"]["resourceVersion"] == "1001"
    assert rig.heard.calls[2:] == ["update one|default/x 999->11", "update one|default/x 11->1001"]


def test_each_member_lists_and_watches_by_its_own_version(rig: Rig) -> None:
    """KCP-22: a new list of one asks for its own version, and changes nothing of the other."""
    rig.set(a=rig.a, b=rig.b)
    rig.settle(lambda: rig.sources[rig.b].send(RuntimeError("broken")), seconds=1)
    assert rig.sources[rig.b].list_versions == ["0", "10"]
    assert rig.sources[rig.a].list_versions == ["0"]
    assert len(rig.heard.calls) == 2


def test_a_member_with_another_client_is_replaced_without_deletes(rig: Rig) -> None:
    """KCP-24, KCP-25: new credentials or another URL are no reason to see all objects go."""
    state = rig.sources[rig.c].state
    rig.sources[rig.c].state = Forbidden("not yet")
    rig.set(b=rig.b)
    assert rig.set(b=rig.c) == []
    assert rig.aggregate.lister.keys() == ["two|default/x"]
    assert not rig.aggregate.synced
    rig.sources[rig.c].state = state
    rig.settle(seconds=1)
    assert rig.aggregate.waiting_for == []
    assert rig.heard.calls[1:] == []
    assert rig.sources[rig.b].open_watches == 0


def test_what_the_new_client_does_not_show_goes_when_it_has_synced(rig: Rig) -> None:
    """KCP-24."""
    rig.set(b=rig.b)
    rig.sources[rig.c].state = page(20, raw_object("y", 15, cluster="two"))
    assert rig.set(b=rig.c) == ["add two|default/y initial", "delete two|default/x unknown"]


def test_a_member_that_goes_before_it_replaced_another_takes_all_with_it(rig: Rig) -> None:
    """KCP-24: also through two replacements."""
    rig.set(b=rig.b)
    rig.sources[rig.c].state = Forbidden("no")
    rig.sources[rig.a].state = Forbidden("no")
    rig.set(b=rig.c)
    assert rig.set(b=rig.a) == []
    assert rig.set() == ["delete two|default/x unknown"]


def test_a_member_that_cannot_be_made_leaves_the_others_alone(rig: Rig) -> None:
    """KCP-25: it is said which, and may be tried again."""
    rig.unmakeable = {rig.b}
    with pytest.raises(KcpctlError, match=r"no informer for b: no such endpoint$"):
        rig.set(a=rig.a, b=rig.b)
    rig.settle()
    assert rig.heard.calls == ["add one|default/x initial"]
    rig.unmakeable = set()
    assert rig.set(a=rig.a, b=rig.b) == ["add two|default/x initial"]
    rig.unmakeable = {rig.c}
    with pytest.raises(KcpctlError, match="no informer for b"):
        rig.set(a=rig.a, b=rig.c)
    assert len(rig.aggregate.lister) == 2


def test_a_cluster_that_is_gone_leaves_every_member(rig: Rig) -> None:
    """KCP-17, KCP-35: and what a replaced member left of it."""
    rig.set(a=rig.a, b=rig.b)
    rig.send(rig.a, "ADDED", "x", 1001, "two")
    rig.sources[rig.c].state = Forbidden("not yet")
    rig.set(a=rig.a, b=rig.c)
    del rig.heard.calls[:]
    rig.aggregate.remove("two")
    rig.settle()
    assert rig.heard.calls == ["delete two|default/x unknown"]
    assert rig.aggregate.lister.keys() == ["one|default/x"]
    rig.aggregate.remove("two")
    rig.settle()
    assert len(rig.heard.calls) == 1


def test_what_a_replaced_member_left_of_a_cluster_goes_with_it(rig: Rig) -> None:
    """KCP-17, KCP-35."""
    rig.set(b=rig.b)
    rig.sources[rig.c].state = Forbidden("not yet")
    rig.set(b=rig.c)
    rig.aggregate.remove("two")
    rig.settle()
    assert rig.heard.calls[1:] == ["delete two|default/x unknown"]
    assert rig.aggregate._shown_by == {}


def test_a_closed_one_takes_no_members_and_no_handlers(rig: Rig) -> None:
    rig.set(a=rig.a)
    rig.aggregate.close()
    rig.aggregate.close()
    assert rig.heard.calls == ["add one|default/x initial"]
    with pytest.raises(RuntimeError, match="is closed"):
        rig.set(b=rig.b)
    with pytest.raises(RuntimeError, match="has ended"):
        rig.aggregate.add_handler(Recorder())


def test_a_handler_can_be_resynced(rig: Rig) -> None:
    """INF-35 over shards."""
    rig.aggregate.add_handler(heard := Recorder(), resync_seconds=10)
    rig.set(a=rig.a, b=rig.b)
    rig.settle(seconds=10)
    assert heard.calls[2:] == ["update one|default/x 999->999", "update two|default/x 9->9"]


def test_who_waits_in_vain_is_told_for_whom(rig: Rig) -> None:
    """INF-23 over shards."""
    rig.sources[rig.b].state = Forbidden("not you")
    registration = rig.aggregate.add_handler(Recorder())
    rig.set(a=rig.a, b=rig.b)
    with pytest.raises(TimeoutError, match=r"Recorder of configmaps of .*: b: .*: not you"):
        registration.wait_for_sync(0)
