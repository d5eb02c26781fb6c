"""The factory: FAC of the client-go behaviours."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from kcpctl.apis.meta import ApiObject
from kcpctl.apis.resource import CONFIG_MAPS, SECRETS
from kcpctl.client import AsyncClient, Call, Response
from kcpctl.errors import Forbidden
from kcpctl.informers import CachedObject, InformerFactory, SharedInformer
from kcpctl.runtime import IOLoop, Metrics
from kcpctl.testing import FakeClock, eventually
from kcpctl.testing.listerwatcher import raw_object


class FakeTransport:
    """Answers every list with one object of its kind, and holds every watch open."""

    server = "https://server"

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.lists = 0
        self.watches = 0

    async def request(self, call: Call) -> Response:
        self.lists += 1
        plural = call.path.rpartition("/")[2]
        if plural in self.refused:
            raise Forbidden(f"no {plural} for you")
        kind = {"configmaps": "ConfigMap", "secrets": "Secret"}[plural]
        item = bytes(raw_object("a", 1, kind=kind)).decode()
        head = f'{{"kind":"{kind}List","apiVersion":"v1","metadata":{{"resourceVersion":"1"}},'
        return Response(200, {}, f'{head}"items":[{item}]}}'.encode())

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        import asyncio

        self.watches += 1
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            self.watches -= 1

    async def close(self) -> None:
        pass


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    with IOLoop() as loop:
        yield loop


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def factory(
    transport: FakeTransport, io_loop: IOLoop, clock: FakeClock
) -> Iterator[InformerFactory]:
    client = AsyncClient(transport, cluster_name="root")
    factory = InformerFactory(client, io_loop, clock=clock, metrics=Metrics(), streaming=False)
    yield factory
    factory.close()
    assert transport.watches == 0


class ConfigMap(ApiObject):
    pass


def test_the_same_arguments_give_the_same_informer(factory: InformerFactory) -> None:
    """FAC-01, FAC-05."""
    one = factory.informer(CONFIG_MAPS)
    assert factory.informer(CONFIG_MAPS) is one

    def same(obj: dict[str, Any]) -> dict[str, Any]:
        return obj

    def nothing(obj: CachedObject) -> bool:
        return False

    assert factory.informer(SECRETS, ignore=nothing) is factory.informer(SECRETS, ignore=nothing)
    others: list[SharedInformer[Any]] = [
        factory.informer(SECRETS),
        factory.informer(CONFIG_MAPS, ConfigMap),
        factory.informer(CONFIG_MAPS, namespace="default"),
        factory.informer(CONFIG_MAPS, label_selector="a=b"),
        factory.informer(CONFIG_MAPS, field_selector="metadata.name=a"),
        factory.informer(CONFIG_MAPS, metadata_only=True),
        factory.informer(CONFIG_MAPS, transform=same),
        factory.informer(CONFIG_MAPS, compact=True),
        factory.informer(CONFIG_MAPS, ignore=nothing),
    ]
    assert len({id(other) for other in [one, *others]}) == 10


def test_a_wait_that_is_over_names_what_is_missing_and_why(
    factory: InformerFactory, transport: FakeTransport, clock: FakeClock
) -> None:
    """FAC-03, INF-23."""
    transport.refused.add("secrets")
    factory.informer(CONFIG_MAPS)
    factory.informer(SECRETS, namespace="default")
    factory.start()
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            factory.wait_for_sync(5)
        except TimeoutError as error:
            errors.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    # One pause of the reflector that fails, and the time of the wait.
    eventually(lambda: clock.sleepers == 2 + 1)
    clock.step(5)
    thread.join(30)
    assert str(errors[0]) == (
        "informers not synced after 5s: secrets of root (default): "
        + str(Forbidden("no secrets for you"))
    )


def test_informers_sync_and_list(factory: InformerFactory) -> None:
    informer = factory.informer(CONFIG_MAPS, ConfigMap)
    factory.start()
    factory.wait_for_sync(60)
    assert factory.waiting_for == []
    assert informer.synced
    assert informer.lister.get("root|default/a").metadata.name == "a"


def test_start_begins_what_does_not_run_yet(
    factory: InformerFactory, transport: FakeTransport
) -> None:
    """FAC-02."""
    factory.informer(CONFIG_MAPS)
    factory.start()
    factory.informer(SECRETS)
    factory.wait_for_sync(60)
    assert transport.lists == 1
    factory.start()
    factory.wait_for_sync(60)
    assert transport.lists == 2


def test_callers_that_start_at_once_start_it_once(
    factory: InformerFactory, transport: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """FAC-02, KCP-18: one check-and-set."""
    informer = factory.informer(CONFIG_MAPS)
    together = threading.Barrier(4)

    def start() -> None:
        together.wait(30)
        factory.start()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    factory.wait_for_sync(60)
    eventually(lambda: transport.watches == 1)
    assert transport.lists == 1
    assert caplog.records == []
    assert informer.synced


def test_another_factorys_informer_is_left_alone(
    factory: InformerFactory, transport: FakeTransport, io_loop: IOLoop
) -> None:
    """FAC-06."""
    other = InformerFactory(AsyncClient(transport, cluster_name="root"), io_loop, streaming=False)
    informer = factory.informer(CONFIG_MAPS)
    factory.start()
    factory.wait_for_sync(60)
    other.stop(informer)
    assert factory.informer(CONFIG_MAPS) is informer
    eventually(lambda: transport.watches == 1)
    other.close()


def test_one_informer_can_be_stopped(factory: InformerFactory, transport: FakeTransport) -> None:
    """FAC-06 fixed, KCP-31."""
    secrets = factory.informer(SECRETS)
    factory.informer(CONFIG_MAPS)
    factory.start()
    factory.wait_for_sync(60)
    eventually(lambda: transport.watches == 2)
    factory.stop(secrets)
    factory.stop(secrets)
    assert transport.watches == 1
    assert factory.informer(SECRETS) is not secrets


def test_close_ends_everything_and_refuses_later_starts(
    factory: InformerFactory, transport: FakeTransport
) -> None:
    """FAC-04."""
    factory.informer(CONFIG_MAPS)
    factory.start()
    factory.wait_for_sync(60)
    factory.close()
    factory.close()
    assert transport.watches == 0
    with pytest.raises(RuntimeError, match="factory is closed"):
        factory.start()
    with pytest.raises(RuntimeError, match="factory is closed"):
        factory.informer(SECRETS)


def test_a_factory_that_never_started_closes(factory: InformerFactory) -> None:
    factory.informer(CONFIG_MAPS)
    factory.close()


def test_the_blocking_face_is_not_for_the_io_thread(
    factory: InformerFactory, io_loop: IOLoop
) -> None:
    async def start() -> None:
        factory.start()

    with pytest.raises(RuntimeError, match="I/O thread"):
        io_loop.run(start())
