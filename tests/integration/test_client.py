"""The client against a scripted server, over real sockets: answers, retries and faults."""

from __future__ import annotations

import asyncio
import json
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import aiohttp
import pytest

from kcpctl.apis.resource import CLUSTER_ROLES, CONFIG_MAPS, NAMESPACES
from kcpctl.client import AsyncClient, ClientConfig, Impersonation, http
from kcpctl.client.connections import prepare_stream
from kcpctl.errors import (
    ApiError,
    ConfigError,
    ConnectionRefused,
    Expired,
    Forbidden,
    InternalError,
    Invalid,
    ResourceVersionTooLarge,
    ServiceUnavailable,
    TooManyRequests,
    TransportError,
    TransportTimeout,
    Unauthorized,
)
from kcpctl.runtime.metrics import Metrics
from kcpctl.testing.clock import FakeClock
from kcpctl.testing.scripted import Reply, ScriptedServer, status_body, watch_line

ONE = "/api/v1/namespaces/default/configmaps/one"
MAPS = "/api/v1/namespaces/default/configmaps"
NS = "/api/v1/namespaces"
CONFIG_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "one", "namespace": "default"},
}
BUSY = Reply(status_body(429, "TooManyRequests"), status=429, headers={"Retry-After": "2"})


class ImpatientClock(FakeClock):
    """A clock whose sleeps are over at once, and are written down."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def asleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.step(seconds)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture
def clock() -> ImpatientClock:
    return ImpatientClock()


@pytest.fixture
async def client(server: ScriptedServer, clock: ImpatientClock) -> AsyncIterator[AsyncClient]:
    made = AsyncClient.plain(
        ClientConfig(server=server.url, token="s3cret"), clock=clock, request_timeout_seconds=30
    )
    yield made
    await made.close()


async def get(client: AsyncClient) -> object:
    return await client.resource(CONFIG_MAPS).get("one", namespace="default")


async def failure(client: AsyncClient) -> Exception:
    with pytest.raises(Exception) as caught:
        await get(client)
    assert "s3cret" not in str(caught.value)
    return caught.value


# No answer.


async def test_a_refused_connection_is_said_and_not_retried_rc_10(
    server: ScriptedServer, client: AsyncClient, clock: ImpatientClock
) -> None:
    """RC-10."""
    await server.stop()
    error = await failure(client)
    assert isinstance(error, ConnectionRefused)
    assert f"GET {server.url}{ONE}" in str(error)
    assert clock.slept == []


async def test_a_refusal_on_every_address_of_a_name_is_a_refusal(server: ScriptedServer) -> None:
    await server.stop()
    client = AsyncClient.plain(ClientConfig(server=f"http://localhost:{server.port}"))
    assert isinstance(await failure(client), ConnectionRefused)
    await client.close()


async def test_a_name_that_does_not_resolve_is_said() -> None:
    client = AsyncClient.plain(ClientConfig(server="http://no-such-host.invalid"))
    assert "the host name cannot be resolved" in str(await failure(client))
    await client.close()


async def test_what_no_header_can_carry_is_the_configurations_fault(server: ScriptedServer) -> None:
    client = AsyncClient.plain(ClientConfig(server=server.url, token="s3cret\nX-Evil: 1"))
    with pytest.raises(ConfigError, match="the request cannot be sent") as caught:
        await client.request("GET", "/readyz")
    assert "s3cret" not in str(caught.value)
    await client.close()


async def test_a_server_that_does_not_answer_times_out(server: ScriptedServer) -> None:
    server.on("GET", ONE, Reply(status=0, ending="hang"))
    client = AsyncClient.plain(ClientConfig(server=server.url), request_timeout_seconds=0.05)
    error = await failure(client)
    assert isinstance(error, TransportTimeout)
    assert "no answer within 0.05s" in str(error)
    await server.until(lambda: server.live_connections == 0)
    assert len(server.received) <= 1  # none, where connecting takes that long
    await client.close()


async def test_a_body_that_does_not_come_times_out(server: ScriptedServer) -> None:
    """RC-23: and its connection is not used again."""
    server.on("GET", ONE, Reply(chunks=[b"{"], ending="hang"))
    client = AsyncClient.plain(ClientConfig(server=server.url), request_timeout_seconds=0.05)
    assert isinstance(await failure(client), TransportTimeout)
    await server.until(lambda: server.live_connections == 0)
    await client.close()


async def test_a_cancelled_request_closes_its_connection(
    server: ScriptedServer, client: AsyncClient
) -> None:
    """RC-23."""
    server.on("GET", ONE, Reply(status=0, ending="hang"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await get(client)
    await server.until(lambda: server.live_connections == 0)


@pytest.mark.parametrize("ending", ["reset", "cut"])
async def test_a_lost_connection_is_retried_for_a_get_rc_08(
    server: ScriptedServer, client: AsyncClient, clock: ImpatientClock, ending: str
) -> None:
    """RC-08."""
    server.on("GET", ONE, Reply(status=0, ending=ending), Reply(CONFIG_MAP))  # type: ignore[arg-type]
    assert await get(client) == CONFIG_MAP
    assert set(clock.slept) <= {1.0}


@pytest.mark.parametrize("ending", ["reset", "cut"])
async def test_a_connection_that_stays_lost_is_an_error_after_3_tries(
    server: ScriptedServer, client: AsyncClient, clock: ImpatientClock, ending: str
) -> None:
    server.on("GET", ONE, Reply(status=0, ending=ending))  # type: ignore[arg-type]
    error = await failure(client)
    assert isinstance(error, TransportError)
    assert clock.slept == [1.0, 1.0]


async def test_a_lost_connection_is_not_retried_for_a_write_rc_08(
    server: ScriptedServer, client: AsyncClient
) -> None:
    """RC-08."""
    server.on("POST", MAPS, Reply(status=0, ending="reset"))
    with pytest.raises(TransportError):
        await client.resource(CONFIG_MAPS).create(CONFIG_MAP)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "reply",
    [Reply(CONFIG_MAP, truncate=10), Reply(chunks=[b'{"kind":'], ending="cut")],
    ids=["length", "chunked"],
)
async def test_a_truncated_answer_is_said(
    server: ScriptedServer, client: AsyncClient, reply: Reply
) -> None:
    server.on("GET", ONE, reply)
    assert "the answer was cut off" in str(await failure(client))


async def test_what_does_not_speak_http_is_said() -> None:
    async def shout(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    client = AsyncClient.plain(ClientConfig(server=f"http://127.0.0.1:{port}"))
    assert "the answer is not HTTP" in str(await failure(client))
    await client.close()
    listener.close()


async def test_an_idle_connection_that_the_server_closed_is_not_used_again(
    server: ScriptedServer, client: AsyncClient
) -> None:
    """RC-17."""
    server.on("GET", ONE, Reply(CONFIG_MAP))
    server.on("POST", MAPS, Reply(CONFIG_MAP, status=201))
    await get(client)
    await server.stop()
    await server.start()
    assert await client.resource(CONFIG_MAPS).create(CONFIG_MAP) == CONFIG_MAP


# Errors that are answered.


@pytest.mark.parametrize(
    ("code", "reason", "cls"),
    [
        (403, "Forbidden", Forbidden),
        (422, "Invalid", Invalid),
        (500, "InternalError", InternalError),
    ],
)
async def test_a_status_is_its_error(
    server: ScriptedServer, client: AsyncClient, code: int, reason: str, cls: type[ApiError]
) -> None:
    server.on("GET", ONE, Reply(status_body(code, reason, "because"), status=code))
    error = await failure(client)
    assert type(error) is cls
    assert str(error) == f"because (GET {server.url}{ONE})"


async def test_html_of_a_proxy_is_shown_by_its_beginning(
    server: ScriptedServer, client: AsyncClient
) -> None:
    page = b"<html>\n  <h1>Bad\tGateway</h1>" + b"x" * 5000
    server.on("GET", ONE, Reply(page, status=502, headers={"Content-Type": "text/html"}))
    error = await failure(client)
    assert isinstance(error, InternalError)
    assert "answered 502 with <html> <h1>Bad Gateway</h1>xxx" in str(error)
    assert len(str(error)) < 350


async def test_json_that_is_no_status_is_shown(server: ScriptedServer, client: AsyncClient) -> None:
    server.on("GET", ONE, Reply({"error": "login first"}, status=403))
    error = await failure(client)
    assert isinstance(error, Forbidden)
    assert 'answered 403 with {"error": "login first"}' in str(error)


async def test_an_error_that_comes_in_pieces_is_read_to_its_end(
    server: ScriptedServer, client: AsyncClient
) -> None:
    whole = json.dumps(status_body(403, "Forbidden", "because " * 20_000)).encode()
    pieces = [whole[start : start + 9000] for start in range(0, len(whole), 9000)]
    server.on("GET", ONE, Reply(chunks=pieces, status=403))
    error = await failure(client)
    assert isinstance(error, Forbidden)
    assert error.message == "because " * 20_000


async def test_an_answer_without_end_is_given_up(server: ScriptedServer) -> None:
    client = AsyncClient.plain(ClientConfig(server=server.url), max_answer_bytes=1000)
    server.on("GET", NS, Reply(b"x" * 1000), Reply(b"x" * 1001))
    assert len((await client.request("GET", NS)).body) == 1000
    with pytest.raises(TransportError, match=r"longer than 1000 bytes \(GET") as caught:
        await client.request("GET", NS)
    await client.close()
    kept = [frame.f_locals.get("parts") for frame, _ in traceback.walk_tb(caught.tb)]
    assert [] in kept  # informers keep their last error, and with it its frames
    assert not any(kept)


async def test_an_error_without_end_is_cut(server: ScriptedServer, client: AsyncClient) -> None:
    server.on("GET", ONE, Reply(chunks=[b"x" * 2_000_000], status=403, ending="hang"))
    assert isinstance(await failure(client), Forbidden)
    await server.until(lambda: server.live_connections == 0)


async def test_an_empty_error_body(server: ScriptedServer, client: AsyncClient) -> None:
    server.on("GET", ONE, Reply(b"", status=503))
    error = await failure(client)
    assert isinstance(error, ServiceUnavailable)
    assert "answered 503 with nothing" in str(error)


async def test_a_redirect_is_an_error_and_the_token_goes_nowhere(
    server: ScriptedServer, client: AsyncClient
) -> None:
    location = {"Location": f"{server.url}/login?state=s3cret"}
    server.on("GET", ONE, Reply(b"", status=302, headers=location))
    error = await failure(client)
    assert isinstance(error, ApiError)
    assert f"a redirect to {server.url}/login" in str(error)
    assert len(server.received) == 1


async def test_the_query_is_not_part_of_messages(
    server: ScriptedServer, client: AsyncClient
) -> None:
    server.on("GET", NS, Reply(b"", status=400))
    with pytest.raises(ApiError) as caught:
        await client.resource(NAMESPACES).list(field_selector="metadata.name=s3cret")
    assert "s3cret" not in str(caught.value)
    assert server.received[0].query["fieldSelector"] == "metadata.name=s3cret"


# Retry-After.


@pytest.mark.parametrize("code", [429, 500, 503, 504])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_retry_after_is_honoured_for_any_method_rc_06(
    server: ScriptedServer, client: AsyncClient, clock: ImpatientClock, code: int, method: str
) -> None:
    """RC-06."""
    busy = Reply(status_body(code), status=code, headers={"Retry-After": "2"})
    server.on(method, ONE, busy, busy, Reply(CONFIG_MAP))
    response = await client.request(method, ONE, body=b"{}" if method == "POST" else None)
    assert response.status == 200
    assert clock.slept == [2, 2]
    assert {one.body for one in server.received} == {b"{}" if method == "POST" else b""}


async def test_ten_tries_are_the_limit_rc_06(
    server: ScriptedServer, client: AsyncClient, clock: ImpatientClock
) -> None:
    """RC-06."""
    server.on("GET", ONE, BUSY)
    error = await failure(client)
    assert isinstance(error, TooManyRequests)
    assert error.retry_after_seconds == 2
    assert len(server.received) == 10


async def test_a_long_wait_is_capped_rc_13(
    server: ScriptedServer, client: AsyncClient, clock: ImpatientClock
) -> None:
    """RC-13."""
    server.on("GET", ONE, Reply(status=503, headers={"Retry-After": "3600"}), Reply(CONFIG_MAP))
    await get(client)
    assert clock.slept == [30]


@pytest.mark.parametrize(
    "header", [{}, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, {"Retry-After": "-1"}]
)
async def test_without_whole_seconds_it_is_the_callers_at_once_rc_07(
    server: ScriptedServer, client: AsyncClient, header: dict[str, str]
) -> None:
    """RC-07."""
    server.on("GET", ONE, Reply(status=503, headers=header))
    assert isinstance(await failure(client), ServiceUnavailable)
    assert len(server.received) == 1


async def test_a_version_that_is_too_large_is_the_callers_at_once(
    server: ScriptedServer, client: AsyncClient
) -> None:
    # A real server sends Retry-After: 1 after 3 s of waiting; ten of these are 40 s.
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = "Timeout: Too large resource version: 9, current: 7"
    body = status_body(504, "Timeout", message, details={"causes": [cause]})
    server.on("GET", NS, Reply(body, status=504, headers={"Retry-After": "1"}))
    with pytest.raises(ResourceVersionTooLarge):
        await client.resource(NAMESPACES).list_raw(resource_version="9")
    assert len(server.received) == 1


async def test_a_probe_hears_of_each_failure(server: ScriptedServer, client: AsyncClient) -> None:
    server.on("GET", "/readyz", BUSY)
    with pytest.raises(TooManyRequests):
        await client.request("GET", "/readyz", retry=False)
    assert len(server.received) == 1


async def test_waiting_for_a_retry_can_be_cancelled_rc_12(server: ScriptedServer) -> None:
    """RC-12."""
    server.on("GET", ONE, BUSY)
    clock = FakeClock()
    client = AsyncClient.plain(ClientConfig(server=server.url), clock=clock)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await get(client)
    assert clock.sleepers == 0
    await client.close()


# Credentials.


async def test_a_401_with_a_fixed_token_is_the_callers(
    server: ScriptedServer, client: AsyncClient
) -> None:
    server.on("GET", ONE, Reply(status_body(401, "Unauthorized"), status=401))
    assert isinstance(await failure(client), Unauthorized)
    assert len(server.received) == 1


@pytest.fixture
async def file_client(
    server: ScriptedServer, tmp_path: Path
) -> AsyncIterator[tuple[AsyncClient, Path]]:
    file = tmp_path / "token"
    file.write_text("old")
    made = AsyncClient.plain(ClientConfig(server=server.url, token_file=file))
    yield made, file
    await made.close()


async def test_a_renewed_token_file_mends_a_401_also_for_writes_au_05(
    server: ScriptedServer, file_client: tuple[AsyncClient, Path]
) -> None:
    """AU-05."""
    client, file = file_client
    server.on(
        "POST", MAPS, Reply(CONFIG_MAP), Reply(status=401), Reply(CONFIG_MAP), Reply(status=401)
    )
    maps = client.resource(CONFIG_MAPS)
    await maps.create(CONFIG_MAP)
    file.write_text("new")
    assert await maps.create(CONFIG_MAP) == CONFIG_MAP
    sent = [one.header("Authorization") for one in server.received]
    assert sent == ["Bearer old", "Bearer old", "Bearer new"]
    assert server.received[1].body == server.received[2].body
    with pytest.raises(Unauthorized):
        await maps.create(CONFIG_MAP)
    assert len(server.received) == 4


async def test_a_401_is_mended_once_only(
    server: ScriptedServer, file_client: tuple[AsyncClient, Path]
) -> None:
    client, file = file_client

    def reject(_: object) -> Reply:
        file.write_text(file.read_text() + "x")
        return Reply(status=401)

    server.on("GET", ONE, reject)
    assert isinstance(await failure(client), Unauthorized)
    assert len(server.received) == 2


async def test_a_watch_is_opened_with_a_renewed_token_too(
    server: ScriptedServer, file_client: tuple[AsyncClient, Path]
) -> None:
    client, file = file_client
    line = watch_line("ADDED", CONFIG_MAP)
    server.on("GET", NS, Reply(status=401), Reply(chunks=[line]))
    server.on("GET", "/readyz", Reply(b"ok"))
    await client.request("GET", "/readyz")
    file.write_text("new")
    assert len([event async for event in client.resource(NAMESPACES).watch_raw()]) == 1


async def test_impersonation_headers(server: ScriptedServer) -> None:
    who = Impersonation("you", uid="7", groups=("a", "b"), extra=(("scopes", ("x", "y")),))
    client = AsyncClient.plain(ClientConfig(server=server.url, token="t", impersonate=who))
    server.on("GET", ONE, Reply(CONFIG_MAP))
    await get(client)
    headers = server.received[0].headers
    assert headers["impersonate-user"] == ["you"]
    assert headers["impersonate-uid"] == ["7"]
    assert headers["impersonate-group"] == ["a", "b"]
    assert headers["impersonate-extra-scopes"] == ["x", "y"]
    await client.close()


# Requests as they arrive.


async def test_a_request_as_it_arrives(server: ScriptedServer, client: AsyncClient) -> None:
    server.on("PATCH", ONE, Reply(CONFIG_MAP))
    await client.resource(CONFIG_MAPS).apply(CONFIG_MAP, field_manager="a b&c=d", force=True)
    (request,) = server.received
    assert request.query == {"fieldManager": "a b&c=d", "force": "true"}
    assert request.header("Content-Type") == "application/apply-patch+yaml"
    assert request.header("Accept") == "application/json"
    assert request.header("Accept-Encoding") == "identity"
    assert request.header("User-Agent") == "kcpctl"
    assert request.json() == CONFIG_MAP


async def test_a_body_of_several_mebibytes(server: ScriptedServer, client: AsyncClient) -> None:
    big = {**CONFIG_MAP, "data": {"x": "y" * 3_000_000}}
    server.on("POST", MAPS, BUSY, Reply(CONFIG_MAP))
    await client.resource(CONFIG_MAPS).create(big)
    assert [one.json() == big for one in server.received] == [True, True]


async def test_selectors_and_names_keep_their_characters(
    server: ScriptedServer, client: AsyncClient
) -> None:
    name = "system:node:a b"
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}"
    server.on("GET", path, Reply(CONFIG_MAP))
    await client.resource(CLUSTER_ROLES).get(name)
    server.on("GET", NS, Reply({"kind": "NamespaceList", "items": []}))
    selector = "a in (b,c),!d,e!=f+g"
    await client.resource(NAMESPACES).list(label_selector=selector)
    assert server.received[-1].query["labelSelector"] == selector


async def test_one_connection_is_used_again(server: ScriptedServer, client: AsyncClient) -> None:
    server.on("GET", ONE, Reply(CONFIG_MAP))
    for _ in range(5):
        await get(client)
    assert server.live_connections == 1


async def test_many_watches_do_not_hold_up_requests(
    server: ScriptedServer, client: AsyncClient
) -> None:
    """RC-18: there is no limit of connections."""
    server.on("GET", NS, Reply(chunks=[b"\n"], ending="hang"))
    server.on("GET", ONE, Reply(CONFIG_MAP))
    streams = [client.stream(NS, timeout_seconds=60) for _ in range(120)]
    for stream in streams:
        await anext(stream)
    assert await get(client) == CONFIG_MAP
    assert server.live_connections == 121
    for stream in streams:
        await stream.aclose()
    await server.until(lambda: server.live_connections <= 1)


async def test_close_leaves_no_connection(server: ScriptedServer, client: AsyncClient) -> None:
    server.on("GET", ONE, Reply(CONFIG_MAP))
    await get(client)
    await client.close()
    await server.until(lambda: server.live_connections == 0)
    with pytest.raises(TransportError, match="is closed"):
        await get(client)


async def test_close_ends_what_is_under_way_at_once(
    server: ScriptedServer, client: AsyncClient, clock: ImpatientClock
) -> None:
    server.on("GET", ONE, Reply(chunks=[b"{"], ending="hang"))
    server.on("GET", NS, Reply(chunks=[b"\n"], ending="hang"))
    stream = client.stream(NS, timeout_seconds=60)
    assert [await anext(stream), await anext(stream)] == [b"", b"\n"]
    server.on("GET", "/readyz", Reply(status=0, ending="hang"))
    silent = client.request("GET", "/readyz")
    under_way = asyncio.gather(get(client), anext(stream), silent, return_exceptions=True)
    await server.until(lambda: len(server.received) == 3)
    await client.close()
    errors = await under_way
    assert ["closed meanwhile" in str(error) for error in errors] == [True, True, True]
    assert clock.slept == []


async def test_the_limit_delays_requests_and_not_watches_rc_03(
    server: ScriptedServer, clock: ImpatientClock
) -> None:
    """RC-03."""
    server.on("GET", ONE, Reply(CONFIG_MAP))
    server.on("GET", NS, Reply(chunks=[]))
    client = AsyncClient.plain(ClientConfig(server=server.url), qps=1, burst=1, clock=clock)
    await get(client)
    assert [event async for event in client.resource(NAMESPACES).watch_raw()] == []
    assert clock.slept == []
    await get(client)
    assert clock.slept == [1]
    await client.close()


async def test_requests_are_counted(server: ScriptedServer, clock: ImpatientClock) -> None:
    metrics = Metrics()
    client = AsyncClient.plain(
        ClientConfig(server=server.url), metrics=metrics, clock=clock, qps=100
    )
    server.on("GET", ONE, BUSY, Reply(CONFIG_MAP))
    await get(client)
    await server.stop()
    await failure(client)
    await client.close()

    def value(name: str, **labels: str) -> float | None:
        host = f"127.0.0.1:{server.port}"
        return metrics.registry.get_sample_value(name, {**labels, "host": host})

    total = "rest_client_requests_total"
    assert value(total, code="200", method="GET") == 1
    assert value(total, code="429", method="GET") == 1
    assert value(total, code="<error>", method="GET") == 1
    assert value("rest_client_request_retries_total", code="429", verb="GET") == 1
    assert value("rest_client_request_duration_seconds_count", verb="GET") == 3
    assert value("rest_client_rate_limiter_duration_seconds_count", verb="GET") == 3
    assert value("rest_client_response_size_bytes_count", verb="GET") == 1


# Watches.


async def test_a_watch_yields_what_the_server_sends(
    server: ScriptedServer, client: AsyncClient
) -> None:
    lines = [watch_line("ADDED", {"n": 1}), watch_line("BOOKMARK", {"n": 2})]
    server.on("GET", NS, Reply(chunks=[lines[0][:5], lines[0][5:] + lines[1]]))
    events = [event async for event in client.resource(NAMESPACES).watch_raw(timeout_seconds=7)]
    assert [(event.type, bytes(event.object)) for event in events] == [
        ("ADDED", b'{"n":1}'),
        ("BOOKMARK", b'{"n":2}'),
    ]
    assert server.received[0].query["timeoutSeconds"] == "7"


async def test_a_line_of_several_mebibytes(server: ScriptedServer, client: AsyncClient) -> None:
    big = {"data": "x" * 4_000_000}
    server.on("GET", NS, Reply(chunks=[watch_line("ADDED", big)]))
    (event,) = [event async for event in client.resource(NAMESPACES).watch_raw()]
    assert len(bytes(event.object)) > 4_000_000


@pytest.mark.parametrize("ending", ["cut", "reset"])
async def test_a_watch_that_is_cut_in_a_line(
    server: ScriptedServer, client: AsyncClient, ending: str
) -> None:
    chunks = [watch_line("ADDED", CONFIG_MAP), b'{"type":"ADDED"']
    server.on("GET", NS, Reply(chunks=chunks, ending=ending))  # type: ignore[arg-type]
    with pytest.raises(TransportError, match="the watch of namespaces ended mid-line"):
        async for _ in client.resource(NAMESPACES).watch_raw():
            pass


async def test_a_watch_that_is_cut_between_lines(
    server: ScriptedServer, client: AsyncClient
) -> None:
    server.on("GET", NS, Reply(chunks=[watch_line("ADDED", CONFIG_MAP)], ending="cut"))
    events = client.resource(NAMESPACES).watch_raw()
    assert (await anext(events)).type == "ADDED"
    with pytest.raises(TransportError, match="cut off"):
        await anext(events)


async def test_a_dead_watch_ends_at_the_clients_deadline(
    server: ScriptedServer, client: AsyncClient
) -> None:
    server.on("GET", NS, Reply(chunks=[b"\n"], ending="hang"))
    stream = client.stream(NS, timeout_seconds=0.1)
    assert [await anext(stream), await anext(stream)] == [b"", b"\n"]
    with pytest.raises(TransportTimeout, match=r"no answer within 0\.1s"):
        await anext(stream)
    await server.until(lambda: server.live_connections == 0)


async def test_a_watch_whose_opening_hangs_ends_at_the_request_timeout(
    server: ScriptedServer,
) -> None:
    server.on("GET", NS, Reply(status=0, ending="hang"))
    client = AsyncClient.plain(ClientConfig(server=server.url), request_timeout_seconds=0.05)
    with pytest.raises(TransportTimeout, match=r"within 0\.05s"):
        await anext(client.resource(NAMESPACES).watch_raw())
    await client.close()


async def test_a_refused_watch_whose_reason_hangs_ends_at_the_request_timeout(
    server: ScriptedServer,
) -> None:
    server.on("GET", NS, Reply(status=403, chunks=[b"{"], ending="hang"))
    client = AsyncClient.plain(ClientConfig(server=server.url), request_timeout_seconds=0.05)
    with pytest.raises(TransportTimeout, match=r"within 0\.05s"):
        await anext(client.resource(NAMESPACES).watch_raw())
    await server.until(lambda: server.live_connections == 0)
    await client.close()


async def test_closing_a_watch_closes_its_connection(
    server: ScriptedServer, client: AsyncClient
) -> None:
    server.on("GET", NS, Reply(chunks=[watch_line("ADDED", CONFIG_MAP)], ending="hang"))
    async with aclosing(client.resource(NAMESPACES).watch()) as events:
        await anext(events)
        assert server.live_connections == 1
    await server.until(lambda: server.live_connections == 0)


async def test_an_expired_watch(server: ScriptedServer, client: AsyncClient) -> None:
    status = status_body(410, "Expired", "too old resource version")
    server.on("GET", NS, Reply(chunks=[watch_line("ERROR", status)], ending="hang"))
    with pytest.raises(Expired):
        await anext(client.resource(NAMESPACES).watch_raw())
    await server.until(lambda: server.live_connections == 0)


async def test_a_watch_that_is_refused(server: ScriptedServer, client: AsyncClient) -> None:
    server.on("GET", NS, Reply(status_body(403, "Forbidden", "no"), status=403))
    with pytest.raises(Forbidden):
        await anext(client.resource(NAMESPACES).watch_raw())


# What the catalogue names and the tests above do not.


async def test_there_is_no_limit_unless_asked_for(
    server: ScriptedServer, client: AsyncClient, clock: ImpatientClock
) -> None:
    """RC-01, RC-22."""
    server.on("GET", ONE, Reply(CONFIG_MAP))
    await asyncio.gather(*(get(client) for _ in range(30)))
    assert clock.slept == []


async def test_the_timeout_begins_after_the_wait_for_the_limit(server: ScriptedServer) -> None:
    """RC-04."""
    server.on("GET", ONE, Reply(CONFIG_MAP))
    clock = FakeClock()
    client = AsyncClient.plain(
        ClientConfig(server=server.url), qps=1, burst=1, clock=clock, request_timeout_seconds=0.5
    )
    await get(client)
    second = asyncio.ensure_future(get(client))
    await asyncio.sleep(0.6)
    assert clock.sleepers == 1
    clock.step(1)
    assert await second == CONFIG_MAP
    await client.close()


async def test_a_cancelled_wait_for_the_limit_is_a_cancel(server: ScriptedServer) -> None:
    """RC-20."""
    server.on("GET", ONE, Reply(CONFIG_MAP))
    clock = FakeClock()
    client = AsyncClient.plain(ClientConfig(server=server.url), qps=1, burst=1, clock=clock)
    await get(client)
    waiting = asyncio.ensure_future(get(client))
    while not clock.sleepers:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await client.close()


async def test_a_watch_that_cannot_be_opened_is_an_error_after_3_tries(
    server: ScriptedServer, client: AsyncClient, clock: ImpatientClock
) -> None:
    """RC-09: an empty watch would look like a server that has nothing to say."""
    server.on("GET", NS, Reply(status=0, ending="cut"))
    with pytest.raises(TransportError, match="closed the connection without an answer"):
        [event async for event in client.resource(NAMESPACES).watch_raw()]
    assert clock.slept == [1, 1]


@pytest.mark.parametrize("size", [10, 600_000])
async def test_a_body_is_sent_whole_with_each_try(
    server: ScriptedServer, client: AsyncClient, size: int
) -> None:
    """RC-11: bodies are bytes, there is none that could not be sent again."""
    server.on("POST", "/readyz", BUSY, BUSY, Reply(b"ok"))
    await client.request("POST", "/readyz", body=b"x" * size)
    assert [len(one.body) for one in server.received] == [size] * 3


async def test_each_try_goes_through_the_limit_and_over_the_same_connection(
    server: ScriptedServer, clock: ImpatientClock
) -> None:
    """RC-12: so the answer before it was read to its end."""
    server.on("GET", ONE, BUSY, BUSY, Reply(CONFIG_MAP))
    client = AsyncClient.plain(
        ClientConfig(server=server.url), qps=0.1, burst=1, clock=clock, request_timeout_seconds=30
    )
    await get(client)
    assert clock.slept == [2, 8, 2, 8]
    assert server.live_connections == 1
    await client.close()


async def test_the_kernel_looks_after_a_quiet_watch(
    server: ScriptedServer, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RC-17, RC-18: a peer that is gone is noticed without a request."""
    set_up = prepare_stream
    options: list[int] = []

    def noting(response: aiohttp.ClientResponse) -> None:
        set_up(response)
        assert response.connection is not None
        assert response.connection.transport is not None
        sock = response.connection.transport.get_extra_info("socket")
        options.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        options.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))

    monkeypatch.setattr(http, "prepare_stream", noting)
    server.on("GET", NS, Reply(chunks=[b"\n"], ending="hang"))
    stream = client.stream(NS, timeout_seconds=60)
    await anext(stream)
    assert options == [1, 30]
    await stream.aclose()


async def test_warnings_of_the_server_go_to_the_handler(server: ScriptedServer) -> None:
    """RC-19: of errors and of each try, too."""
    heard: list[str] = []
    warning = {"Warning": '299 - "v1 is old", 299 - "x is ignored"'}
    client = AsyncClient.plain(ClientConfig(server=server.url), on_warning=heard.append)
    server.on("GET", ONE, Reply(CONFIG_MAP, headers=warning))
    await get(client)
    server.on("GET", ONE, Reply(status_body(403, "Forbidden"), status=403, headers=warning))
    with pytest.raises(Forbidden):
        await get(client)
    assert heard == ["v1 is old", "x is ignored"] * 2
    await client.close()


async def test_a_token_that_was_rejected_is_not_used_again(
    server: ScriptedServer, tmp_path: Path, clock: ImpatientClock
) -> None:
    """AU-02: but unlike client-go the call itself is sent again, with the new one (AU-05)."""
    token = tmp_path / "token"
    token.write_text("old")
    client = AsyncClient.plain(ClientConfig(server=server.url, token_file=token), clock=clock)
    server.on("GET", ONE, Reply(CONFIG_MAP), Reply(status=401), Reply(CONFIG_MAP))
    await get(client)
    token.write_text("new")
    await get(client)
    await get(client)
    tokens = [one.header("authorization") for one in server.received]
    assert tokens == ["Bearer old", "Bearer old", "Bearer new", "Bearer new"]
    await client.close()
