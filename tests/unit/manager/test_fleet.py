"""A fleet against a kcp in memory: endpoints that come, go, fail and flap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from kcpctl.apis.kcp import ExportReference
from kcpctl.apis.resource import CONFIG_MAPS, SECRETS
from kcpctl.client import AsyncClient, Client, Write, confine, reaching
from kcpctl.controller import Controller, Request
from kcpctl.errors import (
    ConnectionRefused,
    CrossWorkspaceAccess,
    Forbidden,
    InternalError,
    NotFound,
    ServiceUnavailable,
    UsageError,
)
from kcpctl.manager import Manager
from kcpctl.manager.fleet import EndpointStatus, Fleet
from kcpctl.runtime import IOLoop, Metrics
from kcpctl.testing import FakeClock, eventually
from tests.unit.manager.shards import Kcp, Shard

PATH, EXPORT = "root:provider", "export"


class Rig:
    """A manager with one controller of ConfigMaps, which reads Secrets too."""

    def __init__(self, io_loop: IOLoop) -> None:
        self.io_loop = io_loop
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.kcp = Kcp(PATH, EXPORT)
        self.fleet = Fleet(
            self.kcp.config,
            ExportReference(path=PATH, name=EXPORT),
            io_loop,
            new_client=self.kcp.new_client,
            new_slice_client=self.kcp.new_slice_client,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.manager = Manager(
            self.fleet.client, metrics=self.metrics, clock=self.clock, fleet=self.fleet
        )
        self.runs: list[str] = []
        self.removed: list[str] = []
        self.maps = self.manager.shared_informers.informer(CONFIG_MAPS)
        self.secrets = self.manager.shared_informers.informer(SECRETS)
        self.controller = Controller("test", self, workers=1, clock=self.clock)
        self.controller.watches(self.maps).reads(self.secrets)
        self.removals = 0
        self.controller.on_removal(self._note_removal)
        self.manager.add(self.controller)

    def _note_removal(self, belongs: Callable[[str], bool]) -> None:
        self.removals += 1
        self.removed += [one for one in ("one", "two") if belongs(f"{one}|x")]

    def reconcile(self, request: Request) -> None:
        self.runs.append(request.key)

    def shard(self, name: str, *clusters: str) -> Shard:
        """Return a shard whose clusters are bound and have an object each."""
        shard = self.kcp.shard(name)
        for cluster in clusters:
            shard.bind(cluster, path=f"root:{cluster}")
            shard.put("configmaps", cluster, "x")
        return shard

    def start(self, *published: str) -> None:
        self.kcp.publish(*published)
        self.fleet.start()
        self.fleet.informers.start()
        self.turn()
        assert self.manager._waiting_for() == []
        self.controller.start()
        self.settle()

    def settle(
        self, act: Callable[[], object] = lambda: None, *, seconds: float = 0.0
    ) -> list[str]:
        """Do something on the loop, let everything follow, and return what ran then."""

        self.runs.clear()
        self.turn(act)
        if seconds:
            self.clock.step(seconds)
            self.turn()
        queue = self.controller.queue
        eventually(
            lambda: not (held := queue.snapshot()).queued and not held.processing,
            poll_seconds=0.001,
        )
        return sorted(self.runs)

    def turn(self, act: Callable[[], object] = lambda: None) -> None:
        async def turns() -> None:
            act()
            for _ in range(60):
                await asyncio.sleep(0)

        self.io_loop.run(turns())

    def states(self) -> dict[str, str]:
        return {one.url.split("/")[2].split(":")[0]: one.state for one in self.fleet.endpoints()}

    def status(self, name: str) -> EndpointStatus:
        return next(one for one in self.fleet.endpoints() if one.url == self.kcp.url(name))

    def close(self) -> None:
        self.controller.stop(1)
        self.fleet.informers.close()
        self.fleet.close()
        self.fleet.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with IOLoop() as io_loop:
        rig = Rig(io_loop)
        yield rig
        rig.close()
        open_watches = [
            plural
            for shard in (rig.kcp.home, *rig.kcp.shards.values())
            for plural, watches in shard._watches.items()
            if watches
        ]
        assert open_watches == []


def test_no_endpoint_is_a_normal_state_and_the_first_one_is_taken_up(rig: Rig) -> None:
    rig.start()
    assert rig.fleet.problem() == ""
    rig.shard("a", "one")
    assert rig.settle(lambda: rig.kcp.publish("a")) == ["one|x"]
    assert rig.states() == {"a": "Serving"}


def test_without_the_slice_the_start_waits_and_says_once_what_to_do(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "kcpctl"):
        rig.fleet.start()
        rig.fleet.informers.start()
        rig.settle(seconds=100)
    assert rig.manager._waiting_for() != []
    assert "APIExportEndpointSlice 'export' in root:provider" in rig.fleet.problem()
    assert "--install-crds" in rig.fleet.problem()
    told = [record for record in caplog.records if "endpoints" in record.getMessage()]
    assert len(told) == 1
    rig.settle(rig.kcp.publish)
    assert rig.manager._waiting_for() == []
    assert rig.fleet.problem() == ""


def test_a_slice_that_may_not_be_read_is_told_with_the_rights_that_are_missing(rig: Rig) -> None:
    rig.kcp.home.down = Forbidden("access denied", code=403)
    rig.fleet.start()
    rig.settle()
    assert "apiexportendpointslices.apis.kcp.io" in rig.fleet.problem()
    assert "apiexports/content named 'export'" in rig.fleet.problem()


def test_a_slice_that_goes_parks_all_and_one_that_comes_back_brings_them_back(rig: Rig) -> None:
    rig.shard("a", "one")
    rig.start("a")
    rig.settle(lambda: rig.kcp.home.delete("apiexportendpointslices", "home", EXPORT))
    assert rig.states() == {"a": "Leaving"}
    assert "no APIExportEndpointSlice" in rig.fleet.problem()
    rig.settle(lambda: rig.kcp.publish("a"))
    assert rig.states() == {"a": "Serving"}
    assert rig.fleet.is_engaged("one")


def test_an_endpoint_is_asked_for_nothing_but_bindings_before_one_of_them_is_ready(
    rig: Rig,
) -> None:
    """A kcp never answers a watch of what is exported that began before that."""
    shard = rig.shard("a")
    shard.bind("one", ready=False)
    rig.start("a")
    assert {request.rpartition("/")[2] for request in shard.requests} == {"apibindings"}
    assert rig.states() == {"a": "Idle"}
    assert rig.fleet.problem() == ""
    shard.put("configmaps", "one", "x")
    assert rig.settle(lambda: shard.bind("one")) == ["one|x"]


def test_what_is_exported_is_read_anew_when_a_first_binding_is_back(rig: Rig) -> None:
    shard = rig.shard("a", "one")
    rig.start("a")
    rig.settle(lambda: shard.unbind("one"))
    lists = sum("configmaps" in request for request in shard.requests)
    rig.settle(lambda: shard.bind("one"), seconds=1)
    assert sum("configmaps" in request for request in shard.requests) == lists + 1


def test_a_cluster_waits_until_every_informer_of_its_endpoint_has_synced(rig: Rig) -> None:
    shard = rig.shard("a", "one")
    shard.failing["secrets"] = Forbidden("claim it", code=403)
    rig.start("a")
    assert rig.runs == []
    assert rig.states() == {"a": "Syncing"}
    assert "claim it" in rig.status("a").last_error
    assert "claim it" in rig.fleet.problem()
    shard.failing.clear()
    assert rig.settle(seconds=60) == ["one|x"]
    assert rig.fleet.problem() == ""


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefused("nobody there"),
        NotFound("nobody there"),
        Forbidden("nobody there"),
        ServiceUnavailable("nobody there"),
        InternalError("nobody there: API export not found"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_dead_endpoint_holds_up_no_other_and_is_tried_again(rig: Rig, error: Exception) -> None:
    """KCP-25: also one that is published before it serves."""
    rig.shard("a", "one")
    rig.shard("b", "two").down = error
    rig.start("a", "b")
    assert rig.states() == {"a": "Serving", "b": "Connecting"}
    assert "nobody there" in rig.status("b").last_error
    assert rig.fleet.is_engaged("one")
    rig.kcp.shard("b").down = None
    assert rig.settle(seconds=60) == ["two|x"]


def test_an_endpoint_that_does_not_answer_is_said_not_to(rig: Rig) -> None:
    rig.shard("a", "one").silent = True
    rig.start("a")
    assert rig.status("a").last_error == "no answer yet"
    assert rig.fleet.problem() == f"{rig.kcp.url('a')}: no answer yet"


def test_an_endpoint_that_fails_later_is_tried_again_and_keeps_its_clusters(rig: Rig) -> None:
    shard = rig.shard("a", "one")
    rig.start("a")
    shard.down = ConnectionRefused("restarting")
    rig.settle(seconds=700)
    assert rig.fleet.is_engaged("one")
    assert rig.maps.lister.keys() == ["one|x"]


def test_a_list_that_flaps_parks_and_resumes_without_reading_anything_again(rig: Rig) -> None:
    shard = rig.shard("a", "one")
    rig.start("a")
    requests = len(shard.requests)
    assert rig.settle(rig.kcp.publish) == []
    assert not rig.fleet.is_engaged("one")
    assert rig.settle(lambda: shard.put("configmaps", "one", "x"), seconds=29) == []
    assert rig.maps.lister.keys() == ["one|x"]
    assert rig.settle(lambda: rig.kcp.publish("a")) == ["one|x"]
    assert rig.settle(seconds=31) == []
    assert rig.fleet.is_engaged("one")
    assert len(shard.requests) == requests
    assert rig.removed == []


def test_an_endpoint_that_stays_away_is_forgotten_with_its_clusters_and_its_objects(
    rig: Rig,
) -> None:
    shard = rig.shard("a", "one")
    rig.shard("b", "two")
    rig.start("a", "b")
    rig.settle(lambda: rig.kcp.publish("b"), seconds=31)
    assert rig.states() == {"b": "Serving"}
    assert rig.maps.lister.keys() == ["two|x"]
    assert rig.removed == ["one"]
    assert shard.closed
    with pytest.raises(NotFound, match="bind the export there"):
        rig.fleet.client.cluster("one")
    # Of the deletes no key waits for a cluster that nobody knows.
    assert rig.controller._gate is not None
    assert rig.controller._gate.release("one") == set()
    # And taken up again as a new one.
    assert rig.settle(lambda: rig.kcp.publish("a", "b")) == ["one|x"]


def test_all_clusters_of_an_endpoint_are_forgotten_in_one_pass(rig: Rig) -> None:
    """With thousands, a pass over all connections for each would hold up the I/O thread."""
    rig.shard("a", "one", "two")
    rig.start("a")
    rig.settle(rig.kcp.publish, seconds=31)
    assert (rig.removals, rig.removed) == (1, ["one", "two"])


def test_a_fleet_can_be_closed_while_an_endpoint_is_being_forgotten(rig: Rig) -> None:
    shard = rig.shard("a", "one")
    rig.start("a")
    rig.turn(rig.kcp.publish)

    async def stuck(members: Mapping[str, AsyncClient]) -> None:
        await asyncio.Event().wait()

    rig.fleet.informers.set_members = stuck  # type: ignore[method-assign]
    rig.clock.step(31)
    eventually(lambda: rig.states() == {})
    rig.fleet.close()
    assert shard.closed


def test_a_url_that_is_replaced_serves_the_same_clusters_without_a_removal(rig: Rig) -> None:
    rig.shard("a", "one")
    rig.shard("b", "one")
    rig.start("a")
    rig.settle(lambda: rig.kcp.publish("b"), seconds=31)
    assert rig.states() == {"b": "Serving"}
    assert rig.fleet.is_engaged("one")
    assert rig.removed == []
    assert rig.fleet.client.cluster("one").server == rig.kcp.url("b")


def test_a_cluster_that_moved_is_reached_where_it_is_now(rig: Rig) -> None:
    old = rig.shard("a", "one")
    rig.start("a")
    new = rig.shard("b", "one")
    assert rig.fleet.endpoint_of("one") == (rig.kcp.url("a"), "")
    assert rig.settle(lambda: rig.kcp.publish("a", "b")) == ["one|x"]
    assert rig.fleet.client.cluster("one").server == rig.kcp.url("b")
    assert rig.fleet.endpoint_of("one") == (rig.kcp.url("b"), "")
    assert rig.fleet.endpoint_of("nobody") == ("", "")
    rig.settle(lambda: old.unbind("one"))
    rig.settle(lambda: old.delete("configmaps", "one", "x"), seconds=31)
    assert rig.maps.lister.keys() == ["one|x"]
    assert rig.removed == []
    assert rig.settle(lambda: new.put("configmaps", "one", "x")) == ["one|x"]


def test_a_binding_that_is_not_ready_parks_and_loses_no_event(rig: Rig) -> None:
    shard = rig.shard("a", "one", "two")
    rig.start("a")
    rig.settle(lambda: shard.bind("one", ready=False))
    assert rig.settle(lambda: shard.put("configmaps", "one", "x"), seconds=60) == []
    assert rig.settle(lambda: shard.put("configmaps", "two", "x")) == ["two|x"]
    assert rig.status("a").parked == ["one"]
    assert rig.settle(lambda: shard.bind("one")) == ["one|x"]
    assert rig.removed == []


def test_another_answer_to_the_claims_brings_the_workspace_up_and_no_other(rig: Rig) -> None:
    shard = rig.shard("a", "one", "two")
    rig.start("a")
    shown = shard.objects["apibindings"]["one", "b"]

    def accept(**more: Any) -> None:
        claim = {"resource": "secrets", "verbs": ["get"], "state": "Accepted"}
        spec = {"permissionClaims": [claim], **more}
        shard.put("apibindings", "one", "b", status=shown["status"], spec=spec)

    assert rig.settle(accept) == ["one|x"]
    assert rig.settle(lambda: accept(other="change")) == []


def test_what_was_deleted_while_its_cluster_was_parked_is_reconciled_then(rig: Rig) -> None:
    shard = rig.shard("a", "one")
    rig.start("a")
    rig.settle(lambda: shard.bind("one", ready=False))
    rig.settle(lambda: shard.delete("configmaps", "one", "x"))
    assert rig.settle(lambda: shard.bind("one")) == ["one|x"]


def test_a_binding_that_is_deleted_but_still_there_keeps_its_cluster_at_work(rig: Rig) -> None:
    """Its objects wait for our finalizers."""
    shard = rig.shard("a", "one")
    rig.start("a")
    condition = {"type": "Ready", "status": "True"}
    metadata = {"deletionTimestamp": "2026-11-21T18:00:00Z"}
    rig.settle(
        lambda: shard.put(
            "apibindings", "one", "b", metadata=metadata, status={"conditions": [condition]}
        )
    )
    assert rig.settle(lambda: shard.put("configmaps", "one", "x")) == ["one|x"]


def test_who_unbinds_is_parked_at_once_and_forgotten_later(rig: Rig) -> None:
    """Objects that the endpoint goes on showing stay: no event would bring them back."""
    shard = rig.shard("a", "one", "two")
    rig.start("a")
    assert rig.settle(lambda: shard.unbind("one"), seconds=29) == []
    assert rig.removed == []
    assert rig.settle(lambda: shard.put("configmaps", "one", "x"), seconds=2) == []
    assert rig.removed == ["one"]
    assert rig.maps.lister.keys() == ["one|x", "two|x"]
    rig.settle(lambda: shard.bind("one"))
    assert rig.settle(lambda: shard.put("configmaps", "one", "x")) == ["one|x"]


def test_a_workspace_that_comes_back_after_all_is_worked_on_anew(rig: Rig) -> None:
    shard = rig.shard("a", "one", "two")
    rig.start("a")
    rig.settle(lambda: shard.unbind("one"), seconds=31)
    assert rig.settle(lambda: shard.bind("one")) == ["one|x"]


def test_credentials_go_to_no_endpoint_without_encryption(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.shard("a", "one")
    plain = "http://evil:80/services/apiexport/home/export"
    rig.start()
    rig.settle(lambda: rig.kcp.publish(urls=(plain,)))
    assert "not encrypted" in rig.fleet.problem()
    rig.settle(lambda: rig.kcp.publish("a", urls=(plain, "nonsense")))
    refused = [one for one in rig.fleet.endpoints() if one.state == "Refused"]
    assert [one.url for one in refused] == [plain, "nonsense"]
    assert "not encrypted" in refused[0].last_error
    assert rig.fleet.is_engaged("one")
    assert rig.fleet.problem() == ""


def test_a_client_writes_at_the_endpoint_of_the_cluster_and_finds_its_cache(rig: Rig) -> None:
    """Read-your-writes: versions mean something at one endpoint only."""
    rig.shard("a", "one")
    shard = rig.shard("b", "two")
    rig.start("a", "b")
    client = rig.fleet.client.cluster("two")
    client.resource(CONFIG_MAPS).create({"metadata": {"name": "x"}}, namespace="default")
    assert shard.writes == ["/clusters/two/api/v1/namespaces/default/configmaps"]
    write = Write(client.server, client.url, CONFIG_MAPS, "default", "x", "u", "1", {})
    cache = rig.maps.cache_of(write)
    assert cache is rig.maps.member_informers[rig.kcp.url("b")]  # type: ignore[attr-defined]


def test_a_route_is_confined_as_every_client_is(rig: Rig) -> None:
    shard = rig.shard("a", "one", "two")
    rig.start("a")
    client: Client = rig.fleet.client
    confine("one")
    try:
        client.cluster("one").resource(SECRETS).list()
        for other in ("two", "*"):
            with pytest.raises(CrossWorkspaceAccess):
                client.cluster(other).resource(SECRETS).list()
        with pytest.raises(CrossWorkspaceAccess):
            client.cluster("one").cluster("two").resource(SECRETS).list()
        with reaching("two"):
            client.cluster("two").resource(SECRETS).list()
    finally:
        confine("")
    assert shard.requests[-1] == "GET /clusters/two/api/v1/secrets"


def test_a_path_leads_nowhere_whoever_claims_it(rig: Rig) -> None:
    """A kcp lets the administrators of a workspace write its path, and stamps it on bindings."""
    rig.shard("a", "one", "two").bind("two", path="root:one")
    rig.start("a")
    for path in ("root:one", "root:two"):
        with pytest.raises(NotFound, match="use the name of the logical cluster"):
            rig.fleet.client.cluster(path)


def test_the_binding_of_a_cluster_can_be_looked_at(rig: Rig) -> None:
    """A ready one before others: what it lacks is what matters."""
    shard = rig.shard("a", "one")
    shard.bind("one", ready=False, name="a-stale-one")
    rig.start("a")
    found = rig.fleet.binding("one")
    assert found is not None
    assert (found.metadata.name, found.path) == ("b", "root:one")
    assert rig.fleet.binding("two") is None


def test_a_cluster_can_be_removed_by_hand(rig: Rig) -> None:
    rig.shard("a", "one", "two")
    rig.start("a")
    rig.manager.remove("one")
    rig.settle()
    assert rig.maps.lister.keys() == ["two|x"]
    assert rig.removed == ["one"]


def test_informers_are_shown_by_endpoint_and_counted_together(rig: Rig) -> None:
    rig.shard("a", "one")
    rig.shard("b", "two")
    rig.start("a", "b")
    names = {one.description for one in rig.fleet.informers.all_informers()}
    assert f"configmaps of {rig.kcp.url('b')}" in names
    labels = {"name": "upstream", "resource": "configmaps", "scope": ""}
    assert rig.metrics.registry.get_sample_value("informer_objects", labels) == 2


def test_nothing_is_asked_of_all_clusters_at_once(rig: Rig) -> None:
    rig.shard("a", "one")
    rig.start("a")
    for client in (rig.fleet.client, rig.fleet.client.wildcard(), rig.fleet.client.cluster("*")):
        with pytest.raises(UsageError, match=r"use client\.cluster"):
            client.resource(SECRETS).list()
    with pytest.raises(UsageError, match="neither"):
        rig.fleet.client.cluster("a/b")
    with pytest.raises(UsageError, match="shared_informers"):
        _ = rig.manager.informers


def test_who_is_not_there_may_be_behind_an_endpoint_that_is_silent(rig: Rig) -> None:
    rig.shard("a", "one")
    rig.shard("b", "two").down = ConnectionRefused("nobody there")
    rig.start("a", "b")
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        rig.fleet.client.cluster("two")
    rig.settle(lambda: rig.kcp.publish("a"))
    with pytest.raises(NotFound, match="APIBinding"):
        rig.fleet.client.cluster("two")


def test_what_is_known_of_a_parked_workspace_is_no_answer(rig: Rig) -> None:
    """Caches may lack what is there: a no would be one by mistake."""
    shard = rig.shard("a", "one", "two")
    rig.start("a")
    rig.settle(lambda: shard.bind("two", ready=False))
    with pytest.raises(ServiceUnavailable, match="APIBinding"):
        rig.fleet.client.cluster("two").logical_cluster_name()


def test_closing_a_client_of_one_cluster_closes_no_connection_of_others(rig: Rig) -> None:
    shard = rig.shard("a", "one")
    rig.start("a")
    rig.fleet.client.cluster("one").close()
    rig.fleet.client.close()
    assert not shard.closed


def test_metrics_count_endpoints_and_clusters_by_state(rig: Rig) -> None:
    shard = rig.shard("a", "one", "two")
    rig.start("a")
    rig.settle(lambda: shard.bind("two", ready=False))
    value = rig.metrics.registry.get_sample_value
    assert value("kcpctl_fleet_endpoints", {"state": "Serving"}) == 1
    assert value("kcpctl_fleet_endpoints", {"state": "Leaving"}) == 0
    assert value("kcpctl_fleet_clusters", {"state": "Engaged"}) == 1
    assert value("kcpctl_fleet_clusters", {"state": "Parked"}) == 1
