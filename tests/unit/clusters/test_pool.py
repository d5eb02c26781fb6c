"""The promises of the pool (peers 3.5), under a clock that the test moves."""

from __future__ import annotations

import asyncio
import json
import logging
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.clusters import ClusterPool, ConnectionReason, ConnectionState
from kcpctl.errors import (
    CertificateInvalid,
    ConfigError,
    ConnectionRefused,
    Forbidden,
    NotConnected,
    NotFound,
    ServiceUnavailable,
    TooManyRequests,
    TransportError,
    Unauthorized,
)
from tests.unit.clusters.conftest import HANG, InlineLoop, kubeconfig

if TYPE_CHECKING:
    from kcpctl.runtime import IOLoop
    from tests.unit.clusters.conftest import World

REFUSED = ConnectionRefused("connection refused: nothing listens there")


# Credentials that cannot be used.


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"[1, 2]", b"just text", b"{}"])
async def test_a_kubeconfig_that_is_garbage_raises_and_names_its_source(
    world: World, garbage: bytes
) -> None:
    with pytest.raises(ConfigError, match="Secret of east"):
        world.pool.ensure("east", garbage, source="Secret of east")
    assert world.pool.status("east") is None


async def test_a_kubeconfig_that_was_refused_is_not_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match="Secret of east"):
            world.pool.ensure("east", b"garbage", source="Secret of east")
        monkeypatch.setattr("kcpctl.clusters.pool.config_from_kubeconfig", None)
    world.pool.remove("east")
    with pytest.raises(TypeError):
        world.pool.ensure("east", b"garbage", source="Secret of east")


async def test_a_kubeconfig_of_all_logical_clusters_is_of_none(world: World) -> None:
    url = "https://east:6443/clusters/*"
    with pytest.raises(ConfigError, match="Secret of east: the server URL names all"):
        world.pool.ensure("east", kubeconfig(url), source="Secret of east")


async def test_garbage_leaves_a_live_connection_alone(world: World) -> None:
    await world.ensure()
    with pytest.raises(ConfigError):
        world.pool.ensure("east", b"garbage", source="Secret of east")
    assert world.status().state is ConnectionState.READY


async def test_fail_drops_the_connection_and_plans_nothing(world: World) -> None:
    await world.ensure()
    world.pool.fail("east", "SecretMissing", "Secret kcpctl-system/east-kubeconfig is gone")
    await world.settle()
    status = world.status()
    assert (status.state, status.reason) == (ConnectionState.DISCONNECTED, "SecretMissing")
    assert status.next_attempt_in_seconds is None
    assert world.transports[0].closed
    with pytest.raises(NotConnected, match=r"is gone.*no attempt is planned"):
        world.pool.client("east")


async def test_fail_for_an_unknown_cluster_makes_it_known(world: World) -> None:
    world.pool.fail("west", "SecretMissing", "no Secret")
    await world.settle()
    assert world.status("west").reason == "SecretMissing"
    assert world.notified == ["west"]


async def test_fail_twice_with_the_same_reason_notifies_once(world: World) -> None:
    for _ in range(2):
        world.pool.fail("west", "SecretMissing", "no Secret")
        await world.settle()
    assert world.notified == ["west"]


async def test_the_same_credentials_connect_again_after_fail(world: World) -> None:
    await world.ensure()
    world.pool.fail("east", "SecretMissing", "no Secret")
    await world.settle()
    await world.ensure()
    assert world.status().state is ConnectionState.READY


# Connecting.


async def test_an_unknown_cluster_is_not_connected(world: World) -> None:
    with pytest.raises(NotConnected, match="does not know this cluster"):
        world.pool.client("nowhere")
    assert world.pool.status("nowhere") is None


async def test_a_new_cluster_is_pending_at_once_and_costs_no_io(world: World) -> None:
    """Promise 1: no I/O."""
    world.pool.ensure("east", world.config(), source="s")
    assert world.status().state is ConnectionState.PENDING
    assert world.transports[0].calls == []


async def test_a_healthy_cluster_becomes_ready_with_its_version(world: World) -> None:
    await world.ensure()
    status = world.status()
    assert (status.state, status.reason) == (ConnectionState.READY, ConnectionReason.CONNECTED)
    assert status.version == "v1.36.0"
    assert status.server == "https://east:6443"
    assert world.seen == [ConnectionState.CONNECTING, ConnectionState.READY]
    assert world.pool.client("east").server == "https://east:6443"


async def test_the_same_kubeconfig_again_changes_nothing(world: World) -> None:
    await world.ensure()
    await world.ensure()
    assert len(world.transports) == 1
    assert world.notified == ["east", "east"]


async def test_a_server_without_readyz_is_probed_by_its_version(world: World) -> None:
    world.breaks(NotFound("no"))
    await world.ensure()
    assert world.status().state is ConnectionState.READY


@pytest.mark.parametrize("error", [Forbidden("no"), TooManyRequests("slow down")])
async def test_an_answer_that_is_only_unwilling_is_health(world: World, error: Exception) -> None:
    world.breaks(error)
    world.breaks(error, "/version")
    await world.ensure()
    assert world.status().state is ConnectionState.READY
    assert world.status().version == ""


@pytest.mark.parametrize(
    "error", [TransportError("the answer is not JSON: <html>"), NotFound("404 page not found")]
)
async def test_something_that_is_no_api_server_is_not_connected(
    world: World, error: Exception
) -> None:
    world.breaks(error, "/version")
    await world.ensure()
    assert world.status().state is ConnectionState.DISCONNECTED
    assert str(error).split()[-1] in world.status().message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (REFUSED, ConnectionReason.CONNECTION_FAILED),
        (ServiceUnavailable("not ready"), ConnectionReason.CONNECTION_FAILED),
        (Unauthorized("no"), ConnectionReason.UNAUTHORIZED),
        (CertificateInvalid("unknown CA"), ConnectionReason.CERTIFICATE_INVALID),
    ],
)
async def test_a_failed_connect_says_why(
    world: World, error: Exception, reason: ConnectionReason
) -> None:
    """Promise 1: NotConnected with state, last error and next attempt."""
    world.breaks(error)
    await world.ensure()
    status = world.status()
    assert (status.state, status.reason) == (ConnectionState.DISCONNECTED, reason)
    with pytest.raises(NotConnected) as caught:
        world.pool.client("east")
    assert caught.value.last_error == status.message
    assert 0 < (caught.value.next_attempt_in_seconds or 0) <= 1


async def test_reconnects_back_off_but_look_at_least_every_12_seconds(world: World) -> None:
    """Promise 4."""
    world.breaks(REFUSED)
    await world.ensure()
    for _ in range(40):
        before = len(world.transports[0].calls)
        wait = world.status().next_attempt_in_seconds
        assert wait is not None
        assert wait <= 12
        await world.step(wait, by=wait)
        assert len(world.transports[0].calls) == before + 1


async def test_a_cluster_that_is_back_is_seen_within_15_seconds(world: World) -> None:
    world.breaks(REFUSED)
    await world.ensure()
    await world.step(300, by=2)
    world.heals()
    await world.step(15, by=0.5)
    assert world.status().state is ConnectionState.READY


async def test_a_cluster_that_stops_hanging_is_seen_within_15_seconds(world: World) -> None:
    world.breaks("hang")
    await world.ensure()
    await world.step(100, by=0.5)
    assert "did not answer in 10s" in world.status().message
    world.heals()
    await world.step(15, by=0.5)
    assert world.status().state is ConnectionState.READY


# Probing.


async def test_probes_come_every_10_seconds_give_or_take_a_twentieth(world: World) -> None:
    """Promise 5: the first one falls where the name says, within the period.

    All fall on tenths of a second, so that one turn of the loop probes several clusters.
    """
    await world.ensure()
    first = world.status().next_attempt_in_seconds or 0
    assert first <= 10
    await world.step(first, by=first)
    waits = set()
    for _ in range(20):
        wait = world.status().next_attempt_in_seconds
        assert wait is not None
        assert 9.5 <= wait <= 10.5
        waits.add(round(wait, 3))
        await world.step(wait, by=wait)
    assert len(waits) > 5
    assert waits == {round(wait, 1) for wait in waits}
    assert world.transports[0].calls.count("/readyz") == 22


async def test_probes_keep_their_rate_when_some_take_long(world: World) -> None:
    await world.ensure()
    await world.step(10, by=0.25)
    began = world.clock.monotonic()
    world.breaks(HANG)
    await world.step(20, by=0.25)  # two of them take five seconds
    world.heals()
    await world.step(70, by=0.25)
    times = [at for at in world.transports[0].probed_at if at > began]
    assert 8 <= len(times) <= 10
    assert all(9.25 <= after - before <= 10.75 for before, after in pairwise(times))


async def test_a_failing_probe_degrades_and_the_client_is_still_served(world: World) -> None:
    await world.ensure()
    world.breaks(REFUSED)
    await world.step(13)
    assert world.status().state is ConnectionState.DEGRADED
    assert world.pool.client("east").server == "https://east:6443"


async def test_five_failures_in_a_row_disconnect(world: World) -> None:
    """Promise 5."""
    await world.ensure()
    world.breaks(REFUSED)
    while world.metric("kcpctl_cluster_probes_total", result="failure") < 4:
        await world.step(1)
    assert world.status().state is ConnectionState.DEGRADED
    await world.step(13)
    assert world.status().state is ConnectionState.DISCONNECTED


async def test_a_success_in_between_starts_the_count_over(world: World) -> None:
    await world.ensure()
    for _ in range(3):
        world.breaks(REFUSED)
        await world.step(37)
        world.heals()
        await world.step(13)
        assert world.status().state is ConnectionState.READY
    assert ConnectionState.DISCONNECTED not in world.seen


async def test_a_probe_that_hangs_counts_as_failed_after_5_seconds(world: World) -> None:
    await world.ensure()
    world.breaks("hang")
    await world.step(12 + 5.5, by=0.5)
    assert world.status().state is ConnectionState.DEGRADED
    assert "did not answer in 5s" in world.status().message


@pytest.mark.parametrize("error", [Unauthorized("expired"), CertificateInvalid("changed CA")])
async def test_refused_credentials_disconnect_at_once(world: World, error: Exception) -> None:
    """Promise 4: 401 is told from the network."""
    await world.ensure()
    world.breaks(error)
    await world.step(12.5)
    assert world.status().state is ConnectionState.DISCONNECTED
    assert world.seen[-1] is ConnectionState.DISCONNECTED
    assert ConnectionState.DEGRADED not in world.seen


async def test_a_reason_that_changes_while_disconnected_is_told(world: World) -> None:
    world.breaks(REFUSED)
    await world.ensure()
    told = len(world.notified)
    world.breaks(Unauthorized("no"))
    await world.step(13)
    assert world.status().reason == ConnectionReason.UNAUTHORIZED
    assert len(world.notified) == told + 1


async def test_two_healthy_minutes_start_the_back_off_over(world: World) -> None:
    """Promise 4."""
    world.breaks(REFUSED)
    await world.ensure()
    await world.step(200, by=2)
    world.heals()
    await world.step(13 + 121, by=1)
    world.breaks(Unauthorized("no"))
    while world.status().state is not ConnectionState.DISCONNECTED:
        await world.step(0.01, by=0.01)
        if world.status().state is ConnectionState.READY:
            await world.step(1)
    assert (world.status().next_attempt_in_seconds or 0) <= 1


async def test_since_moves_with_the_state_only(world: World) -> None:
    await world.ensure()
    since = world.status().since
    await world.step(60)
    assert world.status().since == since
    world.breaks(Unauthorized("no"))
    await world.step(13)
    moved = world.status().since
    assert moved > since
    world.breaks(REFUSED)
    await world.step(13)
    assert world.status().since == moved


# New credentials.


async def test_new_credentials_are_published_when_they_have_connected(world: World) -> None:
    await world.ensure()
    old = world.pool.client("east")
    world.breaks("hang", on="second")
    world.behaviour.pop(("https://east:6443", "/readyz"), None)
    await world.ensure(token="second")
    assert world.pool.client("east") is old
    world.heals()
    await world.step(14, by=0.5)
    new = world.pool.client("east")
    assert new is not old
    assert world.status().state is ConnectionState.READY


async def test_the_old_client_may_end_what_it_has_under_way(world: World) -> None:
    await world.ensure()
    await world.ensure(token="second")
    assert [transport.closed for transport in world.transports] == [False, False]
    await world.step(36)
    assert [transport.closed for transport in world.transports] == [True, False]


async def test_a_swap_that_works_is_no_change_of_state(world: World) -> None:
    await world.ensure()
    told = len(world.notified)
    await world.ensure(token="second")
    assert len(world.notified) == told


async def test_new_credentials_that_fail_leave_the_old_ones_serving(world: World) -> None:
    """Promise 7."""
    await world.ensure()
    old = world.pool.client("east")
    world.breaks(Unauthorized("who?"), on="second")
    await world.ensure(token="second")
    status = world.status()
    assert (status.state, status.reason) == (
        ConnectionState.DEGRADED,
        ConnectionReason.UNAUTHORIZED,
    )
    assert "the old ones still work" in status.message
    assert world.pool.client("east") is old


async def test_that_new_credentials_fail_is_told_and_that_they_work_too(world: World) -> None:
    await world.ensure()
    world.breaks(Unauthorized("who?"), on="second")
    told = len(world.notified)
    await world.ensure(token="second")
    assert "who?" in world.status().rotation
    assert len(world.notified) == told + 1
    await world.step(10)
    assert len(world.notified) == told + 1
    world.heals()
    await world.step(40)
    assert world.status().rotation == ""
    assert len(world.notified) == told + 2


async def test_that_new_credentials_fail_is_news_of_a_connection_that_is_degraded_already(
    world: World,
) -> None:
    await world.ensure()
    world.breaks(TransportError("refused"))
    while world.status().state is not ConnectionState.DEGRADED:
        await world.step(1)
    told, reason = len(world.notified), world.status().reason
    await world.ensure(token="second")
    status = world.status()
    assert (status.state, status.reason) == (ConnectionState.DEGRADED, reason)
    assert status.rotation
    assert len(world.notified) == told + 1


async def test_the_status_names_where_the_newest_credentials_are_from(world: World) -> None:
    world.pool.ensure("east", world.config(), source="Secret a")
    await world.settle()
    assert world.status().source == "Secret a"
    with pytest.raises(ConfigError):
        world.pool.ensure("east", b"garbage", source="Secret b")
    assert world.status().source == "Secret a"


async def test_new_credentials_end_the_back_off_of_the_old_ones(world: World) -> None:
    world.breaks(Unauthorized("no"), on="first")
    await world.ensure()
    await world.step(100, by=2)
    await world.ensure(token="second")
    assert world.status().state is ConnectionState.READY


async def test_another_server_is_another_cluster_and_the_old_client_ends_at_once(
    world: World,
) -> None:
    await world.ensure()
    world.breaks("hang", on="https://elsewhere:6443")
    await world.ensure(server="https://elsewhere:6443")
    assert world.status().state is ConnectionState.CONNECTING
    assert world.status().server == "https://elsewhere:6443"
    assert world.transports[0].closed
    with pytest.raises(NotConnected):
        world.pool.client("east")


async def test_two_rotations_in_a_row_use_the_last_one(world: World) -> None:
    world.breaks("hang", on="first")
    await world.ensure()
    world.breaks("hang", on="second")
    await world.ensure(token="second")
    await world.ensure(token="third")
    await world.settle()
    assert [transport.closed for transport in world.transports] == [True, True, False]
    assert world.status().state is ConnectionState.READY


async def test_new_credentials_after_failed_ones_are_connecting_first(world: World) -> None:
    world.pool.fail("east", "SecretMissing", "no Secret")
    world.breaks("hang")
    await world.ensure()
    status = world.status()
    assert (status.state, status.reason) == (
        ConnectionState.CONNECTING,
        ConnectionReason.NOT_CHECKED,
    )


@pytest.mark.parametrize(
    "user",
    [
        {"exec": {"command": "sh", "apiVersion": "client.authentication.k8s.io/v1"}},
        {"auth-provider": {"name": "gcp"}},
        {"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"},
        {"client-certificate": "/etc/hostname", "client-key": "/etc/hostname"},
    ],
)
async def test_a_tenants_kubeconfig_runs_nothing_and_reads_no_file_of_ours(
    world: World, user: dict[str, Any]
) -> None:
    config = json.loads(world.config())
    config["users"][0]["user"] = user
    with pytest.raises(ConfigError, match="Secret of east"):
        world.pool.ensure("east", json.dumps(config).encode(), source="Secret of east")


async def test_a_plugin_that_is_allowed_may_run_and_no_other(world: World) -> None:
    pool = ClusterPool(
        cast("IOLoop", InlineLoop()), allow_exec=["aws"], new_client=world.new_client
    )
    config = json.loads(world.config())
    plugin = {"command": "aws", "apiVersion": "client.authentication.k8s.io/v1"}
    config["users"][0]["user"] = {"exec": plugin}
    pool.ensure("east", json.dumps(config).encode(), source="Secret of east")
    plugin["command"] = "/tmp/aws"
    with pytest.raises(ConfigError, match="not one of those allowed"):
        pool.ensure("west", json.dumps(config).encode(), source="Secret of west")
    config["users"][0]["user"] = {"auth-provider": {"name": "gcp"}}
    with pytest.raises(ConfigError, match="auth-provider"):
        pool.ensure("west", json.dumps(config).encode(), source="Secret of west")
    await pool.aclose()


async def test_a_swap_leaves_one_task_that_probes(world: World) -> None:
    """At most one attempt at a time: the old credentials' loop has ended."""
    await world.ensure()
    await world.ensure(token="second")
    await world.step(40)
    assert world.tasks() == ["cluster east/connection"]


async def test_new_credentials_start_the_back_off_over(world: World) -> None:
    """Promise 4."""
    world.breaks(REFUSED)
    await world.ensure()
    await world.step(200, by=2)
    await world.ensure(token="second")
    assert (world.status().next_attempt_in_seconds or 0) <= 1


# Isolation.


async def test_an_idle_cluster_is_one_task_and_one_timer(world: World) -> None:
    await world.ensure()
    for _ in range(2):
        assert world.tasks() == ["cluster east/connection"]
        assert world.clock.sleepers == 1
        await world.step(world.status().next_attempt_in_seconds or 0, by=20)


async def test_attempts_that_hang_do_not_pile_up(world: World) -> None:
    """Promise 3: at most one connect under way."""
    world.breaks("hang")
    await world.ensure()
    await world.step(120, by=0.5)
    assert len(world.tasks()) <= 4


async def test_many_clusters_connect_without_any_time_passing(world: World) -> None:
    """A place in the budget is given back at the end of a connect, not after 2 s."""
    for number in range(200):
        world.pool.ensure(f"c{number}", world.config(f"https://c{number}"), source="s")
    for _ in range(10):
        await world.settle()
    assert {status.state for status in world.pool.statuses()} == {ConnectionState.READY}


async def test_hanging_clusters_do_not_hold_up_a_healthy_one(world: World) -> None:
    """Decision 16: 200 clusters that never answer leave the shared budget after 2 s."""
    for number in range(200):
        world.breaks("hang", on=f"https://h{number}")
        world.pool.ensure(f"h{number}", world.config(f"https://h{number}"), source="s")
    await world.settle()
    await world.ensure("good", server="https://good:6443")
    assert world.status("good").state is ConnectionState.PENDING
    await world.step(8, by=1)
    assert world.status("good").state is ConnectionState.READY


async def test_clusters_that_hang_again_and_again_take_no_place_from_others(world: World) -> None:
    for number in range(600):
        world.breaks("hang", on=f"https://h{number}")
        world.pool.ensure(f"h{number}", world.config(f"https://h{number}"), source="s")
    await world.step(60, by=2)
    await world.ensure("good", server="https://good:6443")
    assert world.status("good").state is ConnectionState.READY


async def test_a_subscriber_that_raises_does_not_stop_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(key: str) -> None:
        raise RuntimeError("a bug")

    heard: list[str] = []
    world.pool.subscribe(broken)
    world.pool.subscribe(heard.append)
    await world.ensure()
    assert heard == ["east", "east"]
    assert "A pool subscriber failed" in caplog.text


async def test_who_unsubscribed_hears_no_more(world: World) -> None:
    heard: list[str] = []
    unsubscribe = world.pool.subscribe(heard.append)
    unsubscribe()
    unsubscribe()
    await world.ensure()
    assert heard == []


async def test_a_bug_in_a_probe_does_not_leave_the_cluster_unwatched(world: World) -> None:
    world.breaks(RuntimeError("a bug"))
    await world.ensure()
    assert world.status().state is ConnectionState.DISCONNECTED
    world.heals()
    await world.step(13)
    assert world.status().state is ConnectionState.READY


# Removal.


async def test_remove_ends_everything(world: World) -> None:
    """Promise 10."""
    await world.ensure()
    await world.ensure(token="second")
    world.pool.remove("east")
    await world.settle()
    assert world.pool.status("east") is None
    assert all(transport.closed for transport in world.transports)
    assert world.tasks() == []
    assert world.clock.sleepers == 0
    states = [str(state) for state in ConnectionState]
    assert sum(world.metric("kcpctl_clusters", state=state) for state in states) == 0
    assert world.notified[-1] == "east"


@pytest.mark.parametrize("behaviour", ["hang", REFUSED])
async def test_remove_ends_a_connect_under_way(world: World, behaviour: Exception | str) -> None:
    world.breaks(behaviour)
    await world.ensure()
    world.pool.remove("east")
    await world.settle()
    assert world.clock.sleepers == 0
    assert world.transports[0].closed


async def test_a_request_under_way_may_end_while_its_cluster_drains(world: World) -> None:
    await world.ensure()
    slow = asyncio.Event()
    world.breaks(slow, "/slow")
    client = world.pool.client("east").aio
    request = asyncio.ensure_future(client.request("GET", "/slow"))
    await world.settle()
    world.pool.remove("east")
    await world.step(4)
    assert world.status().state is ConnectionState.DRAINING
    assert not world.closed()
    with pytest.raises(TransportError, match="takes no more requests"):
        await client.request("GET", "/another")
    slow.set()
    await world.settle()
    assert (await request).status == 200
    assert world.closed()
    assert world.pool.statuses() == []


async def test_draining_waits_5_seconds_for_a_request_that_hangs(world: World) -> None:
    await world.ensure()
    world.breaks(HANG, "/slow")
    request = asyncio.ensure_future(world.pool.client("east").aio.request("GET", "/slow"))
    await world.settle()
    world.pool.remove("east")
    await world.settle()
    await world.step(4.5, by=0.5)
    assert not world.closed()
    await world.step(0.5)
    assert world.closed()
    assert world.seen[-2:] == [ConnectionState.DRAINING, ConnectionState.GONE]
    assert world.pool.statuses() == []
    request.cancel()


async def test_500_clusters_that_connected_and_were_watched_leave_nothing_behind(
    world: World,
) -> None:
    """Promise 10: no task, timer, connection, series or entry."""
    series = 0
    for batch in range(5):
        keys = [f"c{batch}-{number}" for number in range(100)]
        for key in keys:
            world.pool.ensure(key, world.config(f"https://{key}"), source="s")
        for _ in range(4):
            await world.settle()
        for key in keys:
            world.pool.watch(key, CONFIG_MAPS)
        await world.settle()
        assert len(world.streams) == 100
        for key in keys:
            world.pool.remove(key)
        await world.settle()
        series = series or world.series()
    assert (world.tasks(), world.streams, world.clock.sleepers) == ([], [], 0)
    assert world.pool.statuses() == []
    assert all(transport.closed for transport in world.transports)
    assert world.series() == series


async def test_800_clusters_keep_their_period_beside_200_that_never_answer(world: World) -> None:
    """Promise 2: over a minute, with a fifth of the fleet accepting and never answering."""
    for number in range(1000):
        server = f"https://c{number}"
        if number % 5 == 0:
            world.breaks("hang", on=server)
        world.pool.ensure(f"c{number}", world.config(server), source="s")
    await world.step(75, by=0.5)
    waits = []
    for transport in world.transports:
        if int(transport.server.removeprefix("https://c")) % 5:
            times = transport.probed_at
            # The first is the connect, the second falls where the name says.
            waits += [after - before for before, after in pairwise(times[1:])]
    assert len(waits) > 800 * 5
    assert 9 <= min(waits) <= max(waits) <= 11  # each of them, not on average
    assert {world.status(f"c{n}").state for n in range(1000) if n % 5} == {ConnectionState.READY}
    assert world.metric("kcpctl_cluster_transitions_total", state="Degraded") == 0


async def test_clusters_that_connect_together_are_not_probed_together(world: World) -> None:
    """Promise 5: each one's phase is in its name."""
    for number in range(200):
        world.pool.ensure(f"c{number}", world.config(f"https://c{number}"), source="s")
    for _ in range(10):
        await world.settle()
    due = sorted(status.next_attempt_in_seconds or 0 for status in world.pool.statuses())
    assert all(8 <= sum(n <= wait < n + 1 for wait in due) <= 40 for n in range(10))


async def test_500_connects_and_removes_leave_nothing_behind(world: World) -> None:
    for number in range(500):
        world.pool.ensure(f"c{number}", world.config(f"https://c{number}"), source="s")
        if number % 3 == 0:
            await asyncio.sleep(0)
        world.pool.remove(f"c{number}")
    await world.settle()
    assert world.tasks() == []
    assert all(transport.closed for transport in world.transports)
    assert world.pool.statuses() == []


async def test_a_removed_cluster_can_come_back(world: World) -> None:
    await world.ensure()
    world.pool.remove("east")
    await world.ensure()
    assert world.status().state is ConnectionState.READY


async def test_removing_an_unknown_cluster_does_nothing(world: World) -> None:
    world.pool.remove("nowhere")
    assert world.notified == []


async def test_a_closed_pool_takes_no_more_clusters(world: World) -> None:
    await world.pool.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        world.pool.ensure("east", world.config("https://east:6443"), source="s")


# Telling.


async def test_each_change_is_one_log_line_one_metric_one_notification(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 3."""
    caplog.set_level(logging.INFO, "kcpctl.clusters")
    await world.ensure()
    world.breaks(Unauthorized("no"))
    await world.step(13)
    states = [record.__dict__["fields"]["state"] for record in caplog.records]
    assert states == ["Connecting", "Ready", "Disconnected"]
    assert world.notified == ["east"] * 3
    for state in states:
        assert world.metric("kcpctl_cluster_transitions_total", state=state) == 1
    assert world.metric("kcpctl_clusters", state="Disconnected") == 1
    assert world.metric("kcpctl_clusters", state="Ready") == 0


async def test_no_metric_names_a_cluster(world: World) -> None:
    """Promise 11: what is told of each cluster is in statuses()."""
    await world.ensure("east-of-eden")
    assert b"east-of-eden" not in world.metrics.render()
    assert [status.key for status in world.pool.statuses()] == ["east-of-eden"]


async def test_probes_are_measured_across_clusters(world: World) -> None:
    """Promise 11: by quantile, and by result."""
    await world.ensure()
    world.breaks("hang")
    await world.step(30, by=0.5)
    assert world.metric("kcpctl_cluster_probe_seconds_count", result="success") == 1
    failures = world.metric("kcpctl_cluster_probe_seconds_count", result="failure")
    assert failures >= 1
    assert world.metric("kcpctl_cluster_probe_seconds_sum", result="failure") == 5 * failures


async def test_no_message_shows_a_token(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "kcpctl")
    world.breaks(Unauthorized("no"))
    await world.ensure(token="s3cr3t")
    assert "s3cr3t" not in repr(world.status())
    assert not any("s3cr3t" in str(record.__dict__) for record in caplog.records)
