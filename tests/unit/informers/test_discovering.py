"""Informers of the custom resources that there are: KCP-30, KCP-31."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import msgspec
import pytest

from kcpctl.apis.resource import CRDS, Resource
from kcpctl.client import AsyncClient, Call, Response
from kcpctl.errors import Forbidden
from kcpctl.informers import DiscoveringInformers, HandlerFuncs, InformerFactory, SharedInformer
from kcpctl.informers.discovering import resource_of
from kcpctl.runtime import IOLoop
from kcpctl.testing import FakeClock

Json = dict[str, Any]
WIDGETS = Resource("example.com", "v1", "widgets", "Widget")
GADGETS = Resource("example.com", "v1", "gadgets", "Gadget", namespaced=False)


def definition(
    resource: Resource = WIDGETS,
    *,
    cluster: str = "one",
    version: int = 1,
    versions: tuple[str, ...] = (),
    established: bool = True,
) -> Json:
    return {
        "apiVersion": CRDS.api_version,
        "kind": CRDS.kind,
        "metadata": {
            "name": resource.group_resource,
            "resourceVersion": str(version),
            "annotations": {"kcp.io/cluster": cluster},
        },
        "spec": {
            "group": resource.group,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {"plural": resource.plural, "kind": resource.kind, "singular": "x"},
            "versions": [
                {"name": name, "served": True, "schema": {"openAPIV3Schema": {}}}
                for name in versions or (resource.version,)
            ],
        },
        "status": {"conditions": [{"type": "Established", "status": str(established)}]},
    }


class Server:
    """Lists are empty but for that of the definitions, whose watch can be fed."""

    server = "https://server"

    def __init__(self) -> None:
        self.definitions: list[Json] = []
        self.widgets: list[Json] = []
        self.forbidden = ""
        self.watched: list[str] = []
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()

    async def request(self, call: Call) -> Response:
        if call.path.endswith(self.forbidden or "?"):
            raise Forbidden("not you")
        lists = {CRDS.plural: self.definitions, WIDGETS.plural: self.widgets}
        items = lists.get(call.path.rpartition("/")[2], [])
        body = {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}
        return Response(200, {}, msgspec.json.encode(body))

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        plural = call.path.rpartition("/")[2]
        self.watched.append(plural)
        try:
            while True:
                if plural == CRDS.plural:
                    yield await self._lines.get()
                else:
                    await asyncio.Event().wait()
        finally:
            self.watched.remove(plural)

    def send(self, type_: str, obj: Json) -> None:
        self._lines.put_nowait(msgspec.json.encode({"type": type_, "object": obj}) + b"\n")

    async def close(self) -> None:
        pass


class Notes:
    def __init__(self, server: Server | None = None) -> None:
        self.told: list[str] = []
        self._server = server

    def _note(self, what: str, resource: Resource) -> None:
        watched = self._server is not None and resource.plural in self._server.watched
        self.told.append(f"{what} {resource.plural} {resource.version}" + " watched" * watched)

    def on_start(self, resource: Resource, informer: SharedInformer[Any]) -> None:
        self._note("start", resource)

    def on_stop(self, resource: Resource, informer: SharedInformer[Any]) -> None:
        self._note("stop", resource)


class Rig:
    def __init__(self, io_loop: IOLoop) -> None:
        self.io_loop = io_loop
        self.clock = FakeClock()
        self.server = Server()
        client = AsyncClient(self.server, cluster_name="*", multi_cluster=True)
        self.factory = InformerFactory(client, io_loop, clock=self.clock, streaming=False)
        self.discovering = DiscoveringInformers(
            self.factory, io_loop, make=self._make, clock=self.clock
        )
        self.unwanted: set[str] = set()
        self.failing: set[str] = set()
        self.notes = Notes(self.server)
        self.discovering.subscribe(self.notes)

    def _make(self, resource: Resource) -> SharedInformer[Any] | None:
        if resource.plural in self.failing:
            raise ValueError("not this one")
        return None if resource.plural in self.unwanted else self.factory.informer(resource)

    def act(self, *calls: Callable[[], object], seconds: float = 0) -> None:
        """Do things on the loop and let what follows happen."""

        async def settle() -> None:
            for call in calls:
                call()
            for _ in range(60):
                await asyncio.sleep(0)

        self.io_loop.run(settle())
        if seconds:
            self.clock.step(seconds)
            self.act()

    def send(self, type_: str, obj: Json) -> Callable[[], None]:
        return lambda: self.server.send(type_, obj)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with IOLoop() as io_loop:
        rig = Rig(io_loop)
        yield rig
        rig.discovering.close()
        rig.discovering.close()
        assert rig.server.watched == []
        rig.factory.close()


def test_a_resource_that_is_not_served_yet_has_no_informer(rig: Rig) -> None:
    """KCP-30."""
    rig.server.definitions = [definition(established=False)]
    rig.discovering.start()
    rig.act()
    assert rig.discovering.informers == {}
    assert rig.discovering.waiting_for == []
    rig.act(rig.send("MODIFIED", definition(version=2)), seconds=1)
    assert list(rig.discovering.informers) == [WIDGETS]


def test_what_is_there_already_starts_and_subscribers_are_told_before(rig: Rig) -> None:
    """KCP-30: so their handlers miss nothing."""
    rig.server.definitions = [definition(), definition(GADGETS)]
    assert rig.discovering.waiting_for != []
    rig.discovering.start()
    rig.discovering.start()
    rig.act()
    assert len(rig.discovering._tasks) == 1
    assert set(rig.discovering.informers) == {WIDGETS, GADGETS}
    assert sorted(rig.notes.told) == ["start gadgets v1", "start widgets v1"]
    assert sorted(rig.server.watched) == ["customresourcedefinitions", "gadgets", "widgets"]
    rig.discovering.subscribe(late := Notes())
    rig.act()
    assert sorted(late.told) == sorted(rig.notes.told)


def test_a_resource_that_goes_takes_its_informer_with_it(rig: Rig) -> None:
    """KCP-31, FAC-06 fixed: subscribers are told when it has ended."""
    rig.server.definitions = [definition()]
    rig.discovering.start()
    rig.act()
    informer = rig.discovering.informers[WIDGETS]
    rig.act(rig.send("DELETED", definition(version=2)), seconds=1)
    assert rig.server.watched == ["customresourcedefinitions"]
    assert rig.notes.told == ["start widgets v1", "stop widgets v1"]
    assert rig.factory.informer(WIDGETS) is not informer


def test_objects_that_were_not_seen_deleted_are_deleted_with_their_resource(rig: Rig) -> None:
    """KCP-31: in every cluster, before the subscribers are told."""
    widget = {"apiVersion": WIDGETS.api_version, "kind": "Widget"}
    rig.server.widgets = [
        {**widget, "metadata": {"name": "same", "annotations": {"kcp.io/cluster": cluster}}}
        for cluster in ("one", "two")
    ]
    rig.server.definitions = [definition()]
    rig.discovering.start()
    rig.act()
    deleted: list[str] = []
    handler = HandlerFuncs(on_delete=lambda obj: deleted.append(obj.key))
    rig.discovering.informers[WIDGETS].add_handler(handler)
    rig.act(rig.send("DELETED", definition(version=2)), seconds=1)
    assert sorted(deleted) == ["one|same", "two|same"]
    assert rig.notes.told[-1] == "stop widgets v1"


def test_a_resource_that_cannot_be_listed_holds_up_nothing(rig: Rig) -> None:
    """FAC-03: the program waits for what it started itself."""
    rig.server.forbidden = "widgets"
    rig.server.definitions = [definition(), definition(GADGETS)]
    rig.discovering.start()
    rig.act()
    assert not rig.discovering.informers[WIDGETS].synced
    rig.factory.start()
    rig.factory.wait_for_sync(1)
    assert rig.factory.waiting_for == rig.discovering.waiting_for == []


def test_definitions_that_cannot_be_listed_are_told_with_the_reason(rig: Rig) -> None:
    rig.server.forbidden = CRDS.plural
    rig.discovering.start()
    rig.act()
    (waiting,) = rig.discovering.waiting_for
    assert waiting == f"{CRDS.group_resource} of *: {Forbidden('not you')}"


def test_it_stays_until_the_last_cluster_has_dropped_it(rig: Rig) -> None:
    """KCP-30: one informer over all clusters, which have definitions of the same name."""
    rig.server.definitions = [definition(cluster="one"), definition(cluster="two")]
    rig.discovering.start()
    rig.act(rig.send("DELETED", definition(cluster="one", version=2)), seconds=1)
    assert list(rig.discovering.informers) == [WIDGETS]
    rig.act(rig.send("DELETED", definition(cluster="two", version=3)), seconds=1)
    assert rig.notes.told == ["start widgets v1", "stop widgets v1"]


def test_changes_are_taken_together_at_most_once_a_second(rig: Rig) -> None:
    """KCP-30: what comes and goes within it was never there."""
    rig.discovering.start()
    rig.act()
    rig.act(
        rig.send("ADDED", definition(version=2)),
        rig.send("ADDED", definition(GADGETS, version=3)),
        rig.send("DELETED", definition(version=4)),
    )
    assert rig.notes.told == []
    rig.act(seconds=0.9)
    assert rig.notes.told == []
    rig.act(seconds=0.1)
    assert rig.notes.told == ["start gadgets v1"]
    # At rest nothing but the watchdog of each watch looks at the clock.
    rig.act(seconds=1)
    assert rig.clock.sleepers == len(rig.server.watched)


def test_another_version_is_another_informer(rig: Rig) -> None:
    """KCP-30: the old one ends first."""
    rig.server.definitions = [definition(versions=("v1beta1", "v1alpha1"))]
    rig.discovering.start()
    rig.act()
    rig.act(rig.send("MODIFIED", definition(version=2, versions=("v1beta1", "v1"))), seconds=1)
    assert rig.notes.told == [
        "start widgets v1beta1",
        "stop widgets v1beta1",
        "start widgets v1",
    ]


def test_one_that_is_not_wanted_or_cannot_be_made_hurts_no_other(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.unwanted, rig.failing = {"widgets"}, {"gizmos"}
    gizmos = Resource("example.com", "v1", "gizmos", "Gizmo")
    rig.server.definitions = [definition(), definition(GADGETS), definition(gizmos)]
    rig.discovering.start()
    rig.act()
    assert list(rig.discovering.informers) == [GADGETS]
    assert [record.getMessage() for record in caplog.records] == ["No informer"]
    rig.act(rig.send("DELETED", definition(version=2)), seconds=1)
    assert rig.notes.told == ["start gadgets v1"]


def test_a_subscriber_that_raises_hurts_nobody_else(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    class Raising:
        def on_start(self, resource: Resource, informer: object) -> None:
            raise RuntimeError("bug")

        on_stop = on_start

    rig.discovering.subscribe(Raising())
    rig.discovering.subscribe(after := Notes())
    rig.server.definitions = [definition()]
    rig.discovering.start()
    rig.act()
    rig.act(rig.send("DELETED", definition(version=2)), seconds=1)
    assert after.told == ["start widgets v1", "stop widgets v1"]
    assert [record.getMessage() for record in caplog.records] == ["Subscriber failed"] * 2


def test_schemas_are_not_kept(rig: Rig) -> None:
    rig.server.definitions = [definition()]
    rig.discovering.start()
    rig.act()
    (cached,) = rig.discovering._definitions.lister.list()
    assert "schema" not in str(cached)


@pytest.mark.parametrize(
    ("versions", "preferred"),
    [
        (("v1", "v2"), "v2"),
        (("v1alpha1", "v1beta2", "v1beta1"), "v1beta2"),
        (("zz", "aa", "v1alpha1"), "v1alpha1"),
        (("zz", "aa"), "aa"),
        (("v2alpha1", "v1"), "v1"),
    ],
)
def test_the_preferred_version(versions: tuple[str, ...], preferred: str) -> None:
    """KCP-30: in the order of Kubernetes."""
    resource = resource_of(definition(versions=versions))
    assert resource is not None
    assert resource.version == preferred


def test_a_definition_that_serves_nothing_is_no_resource() -> None:
    unserved = definition()
    unserved["spec"]["versions"][0]["served"] = False
    assert resource_of(unserved) is None
    assert resource_of({**definition(), "status": {}}) is None
