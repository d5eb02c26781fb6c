"""Informers against a scripted server, over real sockets: the sequences of requests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, ClientConfig
from kcpctl.informers import CachedObject, EventHandler, SharedInformer
from kcpctl.informers.consistency import CHECK_VARIABLE, StreamInconsistent
from kcpctl.informers.initial import InitialStates
from kcpctl.testing import FakeClock
from kcpctl.testing.scripted import Received, Reply, ScriptedServer, status_body, watch_line

PLAIN = "/api/v1/configmaps"
WILDCARD = "/clusters/*/api/v1/configmaps"


def config_map(name: str, version: int, cluster: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{cluster}-{name}",
        "resourceVersion": str(version),
    }
    if cluster:
        metadata["annotations"] = {"kcp.io/cluster": cluster}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def listed(version: int, *items: dict[str, Any], token: str = "") -> Reply:
    # Items of a list of a built-in kind come without apiVersion and kind.
    bare = [{"metadata": item["metadata"]} for item in items]
    meta = {"resourceVersion": str(version), "continue": token}
    return Reply({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": meta, "items": bare})


def watched(*lines: bytes, **more: Any) -> Reply:
    return Reply(chunks=lines, **more)


def gone() -> dict[str, Any]:
    return status_body(410, "Expired", "too old resource version")


OPEN = Reply(chunks=[], ending="hang")
GONE = Reply(gone(), status=410)
GONE_IN_STREAM = watched(watch_line("ERROR", gone()))
BUSY = Reply(status_body(429, "TooManyRequests"), status=429)


class Recorder(EventHandler):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        self.calls.append(f"add {obj.key}")

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        self.calls.append(f"update {new.key}")

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self.calls.append(f"delete {obj.key}" + (" unknown" if final_state_unknown else ""))


class Rig:
    """A server whose lists and watches are scripted apart, and an informer of it."""

    def __init__(
        self,
        server: ScriptedServer,
        client: AsyncClient,
        path: str,
        *,
        streaming: bool,
        initial_states: InitialStates,
        metadata_only: bool = False,
        page_size: int | None = None,
    ) -> None:
        self.server = server
        self.path = path
        self.lists: list[Reply] = []
        self.watches: list[Reply] = []
        self.clock = FakeClock()
        self.handler = Recorder()
        self.informer: SharedInformer[dict[str, Any]] = SharedInformer(
            client,
            CONFIG_MAPS,
            dict,
            clock=self.clock,
            rng=random.Random(1),
            streaming=streaming,
            initial_states=initial_states,
            metadata_only=metadata_only,
            page_size=page_size,
        )
        self.informer.add_handler(self.handler)
        server.on("GET", path, self._answer)

    def _answer(self, request: Received) -> Reply:
        script = self.watches if "watch" in request.query else self.lists
        return script.pop(0) if script else OPEN

    def requests(self, *, watch: bool) -> list[dict[str, str]]:
        received = self.server.requests("GET", self.path)
        return [dict(one.query) for one in received if ("watch" in one.query) is watch]

    def versions(self, *, watch: bool) -> list[str]:
        return [query.get("resourceVersion", "") for query in self.requests(watch=watch)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.informer.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[None]:
        """The same, for one that ends by itself."""
        task = asyncio.create_task(self.informer.run())
        try:
            yield
            async with asyncio.timeout(60):
                await task
        finally:
            task.cancel()

    async def until(self, check: Callable[[], object]) -> None:
        """Let real time pass for the sockets and fake time for the pauses."""
        async with asyncio.timeout(60):
            while not check():
                await asyncio.sleep(0.005)
                self.clock.step(0.2)


@asynccontextmanager
async def rig_of(
    path: str = PLAIN,
    *,
    streaming: bool = False,
    initial_states: InitialStates | None = None,
    metadata_only: bool = False,
    page_size: int | None = None,
) -> AsyncIterator[Rig]:
    states = initial_states or InitialStates()
    async with ScriptedServer() as server:
        config = ClientConfig(server=server.url)
        make = AsyncClient.workspaces if path == WILDCARD else AsyncClient.plain
        client = make(config)
        try:
            yield Rig(
                server,
                client,
                path,
                streaming=streaming,
                initial_states=states,
                metadata_only=metadata_only,
                page_size=page_size,
            )
        finally:
            await client.close()


async def test_the_first_list_and_watch_on_the_wire() -> None:
    """RF-09, RF-14, RF-23, RF-24."""
    async with rig_of() as rig:
        rig.lists = [listed(10, config_map("a", 3))]
        async with rig.running():
            await rig.until(lambda: rig.requests(watch=True))
            assert rig.requests(watch=False) == [{"resourceVersion": "0", "limit": "500"}]
            (watch,) = rig.requests(watch=True)
            assert 300 <= int(watch.pop("timeoutSeconds")) <= 600
            assert watch == {
                "watch": "1",
                "resourceVersion": "10",
                "allowWatchBookmarks": "true",
            }
            assert rig.informer.synced
            assert rig.informer.lister.get("root|default/a")["kind"] == "ConfigMap"


async def test_the_sequence_of_an_expired_list() -> None:
    """RF-11: "0", "10", ""."""
    async with rig_of() as rig:
        rig.lists = [listed(10, config_map("a", 1)), GONE, listed(30)]
        rig.watches = [GONE_IN_STREAM]
        async with rig.running():
            await rig.until(lambda: len(rig.requests(watch=True)) == 2)
            assert rig.versions(watch=False) == ["0", "10", ""]
            assert rig.versions(watch=True) == ["10", "30"]
            assert rig.handler.calls[1:] == ["delete root|default/a unknown"]


_CAUSE = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}


@pytest.mark.parametrize(
    "status",
    [
        status_body(504, "Timeout", "wait", details={"causes": [_CAUSE]}),
        status_body(504, "Timeout", "wait", details={"causes": [{"message": _CAUSE["message"]}]}),
        status_body(504, "Timeout", "Timeout: Too large resource version: 10, current: 7"),
    ],
)
async def test_the_sequence_of_a_version_that_is_too_large(status: dict[str, Any]) -> None:
    """RF-12: "0", "10", "", in all three shapes, and at once."""
    async with rig_of() as rig:
        rig.lists = [listed(10), Reply(status, status=504), listed(7, config_map("a", 7))]
        rig.watches = [GONE_IN_STREAM]
        async with rig.running():
            await rig.until(lambda: len(rig.requests(watch=True)) == 2)
            assert rig.versions(watch=False) == ["0", "10", ""]
            assert rig.versions(watch=True) == ["10", "7"]


async def test_the_newest_state_is_asked_for_until_there_is_one() -> None:
    """RF-13: "0", "10", "", "", "", and then the version again."""
    async with rig_of() as rig:
        failed = Reply(status_body(500, "InternalError"), status=500)
        rig.lists = [listed(10), GONE, failed, failed, listed(30), listed(40)]
        rig.watches = [GONE_IN_STREAM, GONE_IN_STREAM]
        async with rig.running():
            await rig.until(lambda: len(rig.requests(watch=True)) == 3)
            assert rig.versions(watch=False) == ["0", "10", "", "", "", "30"]


async def test_the_sequence_of_an_expired_continue_token_with_a_page_size() -> None:
    """RF-16, PG-02: "0", "10", "", "10"; the last one is not paged."""
    async with rig_of(page_size=1) as rig:
        rig.lists = [
            listed(10),
            listed(20, config_map("a", 1), token="t1"),
            GONE,
            listed(30, config_map("a", 1), config_map("c", 3)),
        ]
        rig.watches = [GONE_IN_STREAM]
        async with rig.running():
            await rig.until(lambda: len(rig.requests(watch=True)) == 2)
            assert rig.versions(watch=False) == ["0", "10", "", "10"]
            assert [one.get("limit") for one in rig.requests(watch=False)] == ["1", "1", "1", None]
            assert [one.get("continue") for one in rig.requests(watch=False)][2] == "t1"
            assert rig.versions(watch=True) == ["10", "30"]


async def test_an_expired_continue_token_of_a_server_without_a_cache() -> None:
    """RF-15, RF-16: the first list came in pages, so they all do; the last one is not paged."""
    async with rig_of() as rig:
        rig.lists = [
            listed(10, config_map("a", 1), token="t0"),
            listed(10, config_map("b", 2)),
            listed(20, config_map("a", 1), token="t1"),
            GONE,
            listed(30, config_map("a", 1), config_map("c", 3)),
        ]
        rig.watches = [GONE_IN_STREAM]
        async with rig.running():
            await rig.until(lambda: len(rig.requests(watch=True)) == 2)
            assert rig.versions(watch=False) == ["0", "", "10", "", "10"]
            assert [query.get("limit") for query in rig.requests(watch=False)] == [
                *["500"] * 4,
                None,
            ]
            assert rig.versions(watch=True) == ["10", "30"]
            assert rig.informer.lister.keys() == ["root|default/a", "root|default/c"]


async def test_five_throttled_watches_need_one_list() -> None:
    """RF-28."""
    async with rig_of() as rig:
        rig.lists = [listed(10)]
        rig.watches = [BUSY] * 4
        async with rig.running():
            await rig.until(lambda: len(rig.requests(watch=True)) == 5)
            assert rig.versions(watch=True) == ["10"] * 5
            assert rig.versions(watch=False) == ["0"]


async def test_a_server_that_was_away_is_watched_on_without_a_list() -> None:
    """RF-28, over a refused connection."""
    async with rig_of() as rig:
        rig.lists = [listed(10)]
        rig.watches = [Reply(chunks=[watch_line("ADDED", config_map("a", 11))], ending="hang")]
        async with rig.running():
            await rig.until(lambda: rig.handler.calls)
            await rig.server.stop()
            await rig.until(lambda: "refused" in str(rig.informer.last_error).lower())
            await rig.server.start()
            rig.watches = [
                Reply(chunks=[watch_line("MODIFIED", config_map("a", 12))], ending="hang")
            ]
            await rig.until(lambda: len(rig.handler.calls) == 2)
            assert rig.versions(watch=False) == ["0"]
            assert rig.versions(watch=True) == ["10", "11"]


@pytest.mark.parametrize("ending", ["cut", "reset"])
async def test_a_watch_that_breaks_in_the_middle_of_a_line_is_resumed(ending: str) -> None:
    whole = watch_line("ADDED", config_map("a", 11))
    half = watch_line("ADDED", config_map("b", 12))[:40]
    async with rig_of() as rig:
        rig.lists = [listed(10)]
        rig.watches = [
            watched(whole + half, ending=ending),
            watched(b"\n", watch_line("ADDED", config_map("b", 12)), ending="hang"),
        ]
        async with rig.running():
            await rig.until(lambda: len(rig.handler.calls) == 2)
            assert rig.handler.calls == ["add root|default/a", "add root|default/b"]
            assert rig.versions(watch=False) == ["0"]
            assert rig.versions(watch=True) == ["10", "11"]


async def test_bookmarks_move_the_version_on_the_wire() -> None:
    """RF-37."""
    async with rig_of() as rig:
        rig.lists = [listed(10)]
        rig.watches = [watched(watch_line("BOOKMARK", config_map("", 42)))]
        async with rig.running():
            await rig.until(lambda: len(rig.requests(watch=True)) == 2)
            assert rig.versions(watch=True) == ["10", "42"]


async def test_one_wildcard_watch_serves_all_clusters() -> None:
    """KCP-10."""
    async with rig_of(WILDCARD) as rig:
        rig.lists = [listed(10, config_map("a", 1, "one"), config_map("a", 2, "two"))]
        rig.watches = [watched(watch_line("DELETED", config_map("a", 11, "one")), ending="hang")]
        async with rig.running():
            await rig.until(lambda: len(rig.handler.calls) == 3)
            assert rig.handler.calls[-1] == "delete one|default/a"
            assert rig.informer.lister.keys() == ["two|default/a"]


async def test_an_informer_that_ends_closes_its_connection() -> None:
    """RF-06."""
    async with rig_of() as rig:
        rig.lists = [listed(10)]
        async with rig.running():
            await rig.until(lambda: rig.requests(watch=True))
        await rig.server.until(lambda: rig.server.live_connections == 0)


# Full states as streams


def end_of_state(version: int) -> bytes:
    obj = config_map("", version)
    obj["metadata"]["annotations"] = {"k8s.io/initial-events-end": "true"}
    return watch_line("BOOKMARK", obj)


async def test_the_state_and_the_watch_are_one_request_on_the_wire() -> None:
    """WL-01, WL-02, WL-04."""
    async with rig_of(streaming=True) as rig:
        rig.watches = [
            watched(
                watch_line("ADDED", config_map("a", 3)),
                end_of_state(10),
                watch_line("ADDED", config_map("b", 11)),
                ending="hang",
            )
        ]
        async with rig.running():
            await rig.until(lambda: len(rig.handler.calls) == 2)
            (query,) = rig.requests(watch=True)
            assert 300 <= int(query.pop("timeoutSeconds")) <= 600
            assert query == {
                "watch": "1",
                "sendInitialEvents": "true",
                "resourceVersionMatch": "NotOlderThan",
                "allowWatchBookmarks": "true",
            }
            assert rig.requests(watch=False) == []
            assert rig.informer.synced


async def test_the_sequence_of_an_expired_stream() -> None:
    """WL-07: "", "10", "", and an ordinary watch never has the parameters of a stream."""
    async with rig_of(streaming=True) as rig:
        rig.watches = [
            watched(watch_line("ADDED", config_map("a", 3)), end_of_state(10)),
            GONE_IN_STREAM,
            GONE,
            watched(end_of_state(30), ending="hang"),
        ]
        async with rig.running():
            await rig.until(lambda: len(rig.handler.calls) == 2)
            assert rig.versions(watch=True) == ["", "10", "10", ""]
            streams = ["sendInitialEvents" in query for query in rig.requests(watch=True)]
            assert streams == [True, False, True, True]
            assert rig.handler.calls[1] == "delete root|default/a unknown"
            assert rig.requests(watch=False) == []


@pytest.mark.parametrize("code", [400, 403, 422, 500])
async def test_a_server_that_refuses_streams_is_listed(code: int) -> None:
    """WL-08: an old server, or one whose gate is off."""
    async with rig_of(streaming=True) as rig:
        rig.watches = [Reply(status_body(code, "", "no streams"), status=code)]
        rig.lists = [listed(10, config_map("a", 3))]
        async with rig.running():
            await rig.until(lambda: len(rig.requests(watch=True)) == 2)
            assert rig.versions(watch=False) == ["0"]
            assert rig.versions(watch=True) == ["", "10"]
            assert rig.handler.calls == ["add root|default/a"]


async def test_a_server_that_ignores_the_parameters_is_listed() -> None:
    """WL-09 fixed: proxies, aggregated servers and old ones send no end of the state."""
    states = InitialStates()
    async with rig_of(streaming=True, initial_states=states) as rig:
        rig.watches = [watched(watch_line("ADDED", config_map("a", 3)), ending="hang")]
        rig.lists = [listed(10, config_map("a", 3))]
        async with rig.running():
            await rig.until(lambda: len(rig.requests(watch=True)) == 2)
            assert rig.versions(watch=False) == ["0"]
            assert rig.versions(watch=True) == ["", "10"]
            assert not states.can_stream(rig.server.url, "configmaps")


async def test_a_server_that_is_known_not_to_stream_is_not_asked_again() -> None:
    """WL-09 fixed."""
    states = InitialStates()
    async with rig_of(streaming=True, initial_states=states) as rig:
        states.cannot_stream(rig.server.url, "configmaps")
        rig.lists = [listed(10, config_map("a", 3))]
        async with rig.running():
            await rig.until(lambda: rig.requests(watch=True))
            assert rig.versions(watch=False) == ["0"]
            assert rig.versions(watch=True) == ["10"]


async def test_a_stream_that_is_cut_in_the_state_leaves_nothing_behind() -> None:
    """WL-06."""
    async with rig_of(streaming=True) as rig:
        rig.watches = [
            watched(watch_line("ADDED", config_map("ghost", 3)), ending="reset"),
            watched(watch_line("ADDED", config_map("a", 4)), end_of_state(10), ending="hang"),
        ]
        async with rig.running():
            await rig.until(lambda: rig.informer.synced)
            assert rig.informer.lister.keys() == ["root|default/a"]
            assert rig.handler.calls == ["add root|default/a"]


@pytest.mark.parametrize("streaming", [True, False])
async def test_metadata_alone_is_asked_for_and_kept(streaming: bool) -> None:
    """Pitfall 3."""
    partial = {**config_map("a", 3), "kind": "PartialObjectMetadata"}
    partial["apiVersion"] = "meta.k8s.io/v1"
    form = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
    async with rig_of(streaming=streaming, metadata_only=True) as rig:
        line = watch_line("ADDED", partial)
        rig.watches = [watched(line, end_of_state(10), ending="hang")] if streaming else []
        meta = {"resourceVersion": "10"}
        items = [{"metadata": partial["metadata"]}]
        rig.lists = [Reply({"kind": "PartialObjectMetadataList", "metadata": meta, "items": items})]
        async with rig.running():
            await rig.until(lambda: rig.requests(watch=True))
            await rig.until(lambda: rig.informer.synced)
            assert rig.informer.lister.get("root|default/a") == partial
            accepted = [one.header("accept") for one in rig.server.requests("GET", rig.path)]
            assert accepted == (
                [form.format("")] if streaming else [form.format("List"), form.format("")]
            )


async def test_a_streamed_state_can_be_checked_against_a_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """WL-13: at exactly its version; a difference ends the informer."""
    monkeypatch.setenv(CHECK_VARIABLE, "true")
    async with rig_of(streaming=True) as rig:
        state = [watch_line("ADDED", config_map("a", 3)), end_of_state(10)]
        rig.watches = [watched(*state), GONE_IN_STREAM, watched(*state, ending="hang")]
        rig.lists = [listed(10, config_map("a", 3)), listed(10, config_map("b", 3))]
        with pytest.raises(StreamInconsistent, match=r"default/a, root\|default/b"):
            async with rig.failing():
                await rig.until(lambda: len(rig.requests(watch=False)) == 2)
        assert (
            rig.requests(watch=False)
            == [{"resourceVersion": "10", "resourceVersionMatch": "Exact"}] * 2
        )


async def test_a_page_size_is_not_for_streams() -> None:
    """WL-14."""
    async with rig_of(streaming=True, page_size=7) as rig:
        rig.watches = [watched(end_of_state(10), ending="hang")]
        async with rig.running():
            await rig.until(lambda: rig.informer.synced)
            (query,) = rig.requests(watch=True)
            assert "limit" not in query
