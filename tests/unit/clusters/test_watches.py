"""Watches of a cluster that many share (promises 6, 8 and 9 of the pool)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.clusters import ConnectionState
from kcpctl.clusters.watches import Scope
from kcpctl.errors import Forbidden, NotConnected, Unauthorized
from kcpctl.informers import HandlerFuncs
from tests.unit.clusters.conftest import LIST

if TYPE_CHECKING:
    from tests.unit.clusters.conftest import World


async def connected(world: World) -> None:
    await world.ensure()
    assert world.status().state is ConnectionState.READY


async def until(world: World, state: ConnectionState) -> None:
    for _ in range(200):
        if world.status().state is state:
            return
        await world.step(0.5, by=0.5)
    raise AssertionError(f"{world.status()}")


# What cannot be watched.


async def test_a_cluster_that_is_not_connected_cannot_be_watched(world: World) -> None:
    with pytest.raises(NotConnected, match="does not know"):
        world.pool.watch("nowhere", CONFIG_MAPS)
    world.breaks("hang")
    await world.ensure()
    with pytest.raises(NotConnected, match="Connecting"):
        world.pool.watch("east", CONFIG_MAPS)


async def test_a_watch_without_a_state_is_syncing_and_the_pool_tells_when_it_is_read(
    world: World,
) -> None:
    await connected(world)
    world.breaks(Forbidden("no rights yet"), LIST)
    watch = world.pool.watch("east", CONFIG_MAPS)
    await world.settle()
    assert world.status().state is ConnectionState.SYNCING
    assert world.status().connected
    await world.step(13)
    assert "configmaps of root has not been read yet: no rights yet" in world.status().message
    for read in (lambda: watch.lister, watch.stale):
        with pytest.raises(NotConnected, match="Syncing: configmaps of root has not been read"):
            read()
    world.heals()
    world.notified.clear()
    await until(world, ConnectionState.READY)
    assert world.notified == ["east"]
    assert watch.lister.keys() == ["root|default/a"]
    assert world.status().cached_objects == 1


async def test_a_probe_does_not_make_a_cluster_ready_that_is_syncing(world: World) -> None:
    await connected(world)
    world.breaks("hang", LIST)
    world.pool.watch("east", CONFIG_MAPS)
    await world.step(25)
    assert world.status().state is ConnectionState.SYNCING


# Sharing.


async def test_however_many_ask_there_is_one_list_and_one_watch(world: World) -> None:
    await connected(world)
    watches = [world.pool.watch("east", CONFIG_MAPS) for _ in range(5)]
    await world.settle()
    watches.append(world.pool.watch("east", CONFIG_MAPS))
    await world.settle()
    assert (world.calls(LIST), len(world.streams)) == (1, 1)
    world.writes("b")
    await world.settle()
    assert {len(watch.lister) for watch in watches} == {2}


async def test_other_options_are_another_informer(world: World) -> None:
    await connected(world)
    world.pool.watch("east", CONFIG_MAPS)
    world.pool.watch("east", CONFIG_MAPS, label_selector="app=web")
    await world.settle()
    assert (world.calls(LIST), len(world.streams)) == (2, 2)


async def test_the_informer_ends_a_minute_after_the_last_one_left(world: World) -> None:
    """Promise 8: what nobody uses leaves the memory."""
    await connected(world)
    first, second = (world.pool.watch("east", CONFIG_MAPS) for _ in range(2))
    await world.settle()
    first.release()
    first.release()
    await world.step(100)
    assert len(world.streams) == 1
    second.release()
    await world.step(59)
    assert len(world.streams) == 1
    await world.step(2)
    assert world.streams == []
    assert world.tasks() == ["cluster east/connection"]
    assert world.status().cached_objects == 0


async def test_who_asks_again_within_the_minute_finds_it_as_it_was(world: World) -> None:
    await connected(world)
    for _ in range(5):
        watch = world.pool.watch("east", CONFIG_MAPS)
        await world.settle()
        watch.release()
        await world.step(50)
    kept = world.pool.watch("east", CONFIG_MAPS)
    await world.step(200)
    assert len(kept.lister) == 1
    assert world.calls(LIST) == 1


async def test_release_removes_ones_own_handlers_only(world: World) -> None:
    await connected(world)
    mine, theirs = (world.pool.watch("east", CONFIG_MAPS) for _ in range(2))
    heard: list[str] = []
    mine.add_handler(HandlerFuncs(on_add=lambda obj: heard.append("mine")))
    theirs.add_handler(HandlerFuncs(on_add=lambda obj: heard.append("theirs")))
    await world.settle()
    heard.clear()
    mine.release()
    world.writes("b")
    await world.settle()
    assert heard == ["theirs"]
    with pytest.raises(RuntimeError, match="released"):
        mine.lister  # noqa: B018 - a property that raises


# Outages.


async def test_a_connection_that_is_lost_stops_its_watches(world: World) -> None:
    """Promise 9: handlers hear nothing, readers get no stale view unless they ask for it."""
    await connected(world)
    watch = world.pool.watch("east", CONFIG_MAPS)
    heard: list[str] = []
    watch.add_handler(
        HandlerFuncs(
            on_add=lambda obj: heard.append(obj.key), on_delete=lambda obj: heard.append("gone")
        )
    )
    await world.settle()
    heard.clear()
    world.breaks(Unauthorized("expired"))
    await until(world, ConnectionState.DISCONNECTED)
    assert world.streams == []
    assert heard == []
    with pytest.raises(NotConnected, match="expired"):
        watch.lister  # noqa: B018 - a property that raises
    await world.step(100)
    lister, age_seconds = watch.stale()
    assert lister.keys() == ["root|default/a"]
    assert 100 <= age_seconds <= 115
    assert (world.calls(LIST), len(world.watches)) == (1, 1)


async def test_a_connection_that_is_back_resumes_its_watches(world: World) -> None:
    """Promise 9: what was missed is told, from where the watch was, without another list."""
    await connected(world)
    watch = world.pool.watch("east", CONFIG_MAPS)
    heard: list[str] = []
    watch.add_handler(HandlerFuncs(on_add=lambda obj: heard.append(obj.key)))
    await world.settle()
    world.breaks(Unauthorized("expired"))
    await until(world, ConnectionState.DISCONNECTED)
    await world.step(300)
    world.heals()
    world.seen.clear()
    await until(world, ConnectionState.READY)
    assert world.seen == [ConnectionState.SYNCING, ConnectionState.READY]
    assert [version for _, version in world.watches] == ["1", "1"]
    assert world.calls(LIST) == 1
    world.writes("b")
    await world.settle()
    assert heard == ["root|default/a", "root|default/b"]
    assert len(watch.lister) == 2


async def test_credentials_that_come_back_resume_the_watches_too(world: World) -> None:
    await connected(world)
    watch = world.pool.watch("east", CONFIG_MAPS)
    await world.settle()
    world.pool.fail("east", "SecretMissing", "no Secret")
    await world.step(10)
    assert world.streams == []
    await world.ensure(token="second")
    await world.step(2)
    assert world.watches == [("first", "1"), ("second", "1")]
    assert len(watch.lister) == 1


# Rotation.


async def test_new_credentials_roll_the_watches_over_where_they_were(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 7: the old watch goes on for 35 s, then the next one has the new identity."""
    await connected(world)
    watch = world.pool.watch("east", CONFIG_MAPS)
    await world.settle()
    world.seen.clear()
    await world.ensure(token="second")
    await world.step(30)
    assert world.watches == [("first", "1")]
    world.writes("b")
    await world.step(10)
    assert world.watches == [("first", "1"), ("second", "2")]
    assert world.calls(LIST) == 1
    assert len(watch.lister) == 2
    assert world.seen == []
    assert "List or watch failed" not in caplog.text


async def test_another_server_ends_the_watches(world: World) -> None:
    await connected(world)
    watch = world.pool.watch("east", CONFIG_MAPS)
    await world.settle()
    await world.ensure(server="https://elsewhere:6443")
    assert watch.ended
    for use in (lambda: watch.lister, watch.stale, lambda: watch.add_handler(HandlerFuncs())):
        with pytest.raises(NotConnected, match="ask the pool for a new one"):
            use()
    await world.settle()
    assert world.streams == []
    assert len(world.watches) == 1
    watch.release()
    again = world.pool.watch("east", CONFIG_MAPS)
    await world.settle()
    assert len(again.lister) == 1


async def test_a_removed_cluster_ends_its_watches(world: World) -> None:
    """Promise 10: also one that is held, and one whose minute runs."""
    await connected(world)
    watch = world.pool.watch("east", CONFIG_MAPS)
    world.pool.watch("east", CONFIG_MAPS, namespace="default").release()
    await world.settle()
    world.pool.remove("east")
    await world.settle()
    assert watch.ended
    assert (world.tasks(), world.streams, world.clock.sleepers) == ([], [], 0)
    watch.release()


# Watches and probes.


async def test_what_a_watch_brings_counts_as_a_probe(world: World) -> None:
    """Promise 5: a busy cluster costs nothing extra, but a probe a minute to know our rights."""
    await connected(world)
    world.pool.watch("east", CONFIG_MAPS)
    await world.step(20)
    before = world.calls("/readyz")
    for number in range(240):
        world.writes(f"busy{number}")
        await world.step(1)
    assert 3 <= world.calls("/readyz") - before <= 5
    await world.step(60)
    assert world.calls("/readyz") - before >= 8


async def test_a_client_of_another_server_begins_no_watch(world: World) -> None:
    """A thread may still hold the client that was replaced while it came here."""
    await connected(world)
    connection = world.pool._connections["east"]
    old = world.pool.client("east").aio
    await world.ensure(server="https://elsewhere:6443")
    with pytest.raises(NotConnected, match="another server"):
        connection._watches.join(old, Scope(CONFIG_MAPS, dict))


# What one cluster may hold.


@pytest.mark.parametrize("field_selector", ["", "metadata.name!=z"])
async def test_a_list_beyond_the_cap_is_not_held_and_says_so(
    world: World, field_selector: str
) -> None:
    """Promise 8; what other watches hold counts too, and they go on."""
    world.objects = {f"o{number}": 1 for number in range(160)}
    await connected(world)
    first = world.pool.watch("east", CONFIG_MAPS, field_selector="metadata.name!=x")
    await world.settle()
    assert len(first.lister) == 160
    second = world.pool.watch("east", CONFIG_MAPS, field_selector=field_selector)
    await world.settle()
    wanted = "not watched any more: .* more than 300 objects or 0 MiB; select fewer"
    for use in (lambda: second.lister, second.stale, lambda: second.add_handler(HandlerFuncs())):
        with pytest.raises(NotConnected, match=wanted):
            use()
    assert world.status().state is ConnectionState.SYNCING
    assert "raise the pool's limit" in world.status().message
    assert world.status().cached_objects == 160
    assert len(first.lister) == 160


async def test_a_watch_that_grows_beyond_the_cap_stops(world: World) -> None:
    world.objects = {f"o{number}": 1 for number in range(299)}
    await connected(world)
    watch = world.pool.watch("east", CONFIG_MAPS)
    await world.settle()
    world.writes("o299")
    await world.settle()
    assert len(watch.lister) == 300
    world.writes("o300")
    await world.settle()
    with pytest.raises(NotConnected, match="more than 300 objects"):
        _ = watch.lister
    assert world.streams == []
    assert world.status().cached_objects == 0
    before = world.calls(LIST)
    await world.step(120)
    assert world.calls(LIST) == before  # it is not tried again and again


async def test_who_lets_go_of_a_watch_beyond_the_cap_may_ask_again_later(world: World) -> None:
    world.objects = {f"o{number}": 1 for number in range(301)}
    await connected(world)
    watch = world.pool.watch("east", CONFIG_MAPS)
    await world.settle()
    watch.release()
    await world.step(61)
    assert world.status().state is ConnectionState.READY
    world.objects = {"a": 1}
    again = world.pool.watch("east", CONFIG_MAPS)
    await world.settle()
    assert len(again.lister) == 1


async def test_bytes_count_as_well_as_objects(world: World) -> None:
    name = "x" * 10_000
    world.objects = {f"{name}{number}": 1 for number in range(6)}  # the uid is the name once more
    await connected(world)
    watch = world.pool.watch("east", CONFIG_MAPS)
    await world.settle()
    with pytest.raises(NotConnected, match="not watched any more"):
        _ = watch.lister
