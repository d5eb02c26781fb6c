"""The pool over real sockets: refusal, silence, garbage, 401, TLS, rotation, removal."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.clusters import ClusterPool, ConnectionReason, ConnectionState, ConnectionStatus
from kcpctl.errors import NotConnected
from kcpctl.runtime import IOLoop, start_thread
from kcpctl.testing import eventually
from kcpctl.testing.certificates import CertificateAuthority
from kcpctl.testing.scripted import Received, Reply, ScriptedServer, status_body, watch_line

VERSION = Reply({"major": "1", "minor": "36", "gitVersion": "v1.36.0"})


def kubeconfig(server: str, *, token: str = "first", ca: bytes = b"") -> bytes:
    cluster: dict[str, Any] = {"server": server}
    if ca:
        cluster["certificate-authority-data"] = base64.b64encode(ca).decode()
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    ).encode()


class Field:
    """A pool with quick probes, and scripted clusters on a loop of their own."""

    def __init__(self, *, probe_timeout_seconds: float = 0.3) -> None:
        self.pool_loop = IOLoop("test-pool")
        self.server_loop = IOLoop("test-servers")
        self.servers: list[ScriptedServer] = []
        self.pool = ClusterPool(
            self.pool_loop,
            probe_interval_seconds=0.2,
            probe_timeout_seconds=probe_timeout_seconds,
            connect_timeout_seconds=1.0,
        )

    def server(self, *, ca: CertificateAuthority | None = None, **readyz: Any) -> ScriptedServer:
        async def make() -> ScriptedServer:
            made = ScriptedServer(tls=None if ca is None else ca.server_context())
            made.on("GET", "/readyz", Reply(**{"body": b"ok", **readyz}))
            made.on("GET", "/version", VERSION)
            return await made.start()

        made = self.server_loop.run(make())
        self.servers.append(made)
        return made

    def ensure(self, key: str, server: ScriptedServer, **more: Any) -> None:
        self.pool.ensure(key, kubeconfig(server.url, **more), source=f"Secret of {key}")

    def until(self, key: str, state: ConnectionState) -> ConnectionStatus:
        def reached() -> ConnectionStatus | None:
            status = self.pool.status(key)
            return status if status is not None and status.state is state else None

        status = eventually(reached, poll_seconds=0.01)
        assert status is not None
        return status

    def names(self) -> list[str]:
        async def tasks() -> list[str]:
            return [task.get_name() for task in asyncio.all_tasks()]

        return [name for name in self.pool_loop.run(tasks()) if name.startswith("cluster")]

    def close(self) -> None:
        self.pool.close()
        assert self.names() == []
        for server in self.servers:
            eventually(lambda server=server: server.live_connections == 0)  # type: ignore[misc]
            self.server_loop.run(server.stop())
        self.pool_loop.close()
        self.server_loop.close()


@pytest.fixture
def field() -> Iterator[Field]:
    made = Field()
    yield made
    made.close()


@pytest.fixture
def patient_field() -> Iterator[Field]:
    """One whose clusters do not go away because the machine is busy."""
    made = Field(probe_timeout_seconds=20)
    yield made
    made.close()


def test_a_port_where_nothing_listens(field: Field) -> None:
    server = field.server()
    field.server_loop.run(server.stop())
    field.ensure("east", server)
    status = field.until("east", ConnectionState.DISCONNECTED)
    assert status.reason == ConnectionReason.CONNECTION_FAILED
    assert "refused" in status.message
    field.server_loop.run(server.start())
    field.until("east", ConnectionState.READY)


def test_a_server_that_accepts_and_never_answers(field: Field) -> None:
    hanging = field.server(status=0, ending="hang")
    healthy = field.server()
    field.ensure("hanging", hanging)
    field.ensure("healthy", healthy)
    field.until("healthy", ConnectionState.READY)
    status = field.until("hanging", ConnectionState.DISCONNECTED)
    assert status.reason == ConnectionReason.CONNECTION_FAILED


@pytest.mark.parametrize("ending", ["cut", "reset"])
def test_a_server_that_breaks_off(field: Field, ending: str) -> None:
    server = field.server(body=b"o", truncate=10, ending=ending)
    field.ensure("east", server)
    status = field.until("east", ConnectionState.DISCONNECTED)
    assert status.reason == ConnectionReason.CONNECTION_FAILED


def test_something_that_is_no_api_server(field: Field) -> None:
    server = field.server(body=b"<html>hello</html>")
    server.on("GET", "/version", Reply(b"<html>hello</html>"))
    field.ensure("east", server)
    status = field.until("east", ConnectionState.DISCONNECTED)
    assert status.reason == ConnectionReason.CONNECTION_FAILED


def test_a_token_that_is_not_accepted(field: Field) -> None:
    server = field.server(status=401, body=status_body(401, "Unauthorized", "Unauthorized"))
    field.ensure("east", server, token="s3cr3t")
    status = field.until("east", ConnectionState.DISCONNECTED)
    assert status.reason == ConnectionReason.UNAUTHORIZED
    assert "s3cr3t" not in repr(status)


def test_a_certificate_of_another_ca(field: Field) -> None:
    ca, other = CertificateAuthority(), CertificateAuthority("another CA")
    server = field.server(ca=ca)
    field.ensure("east", server, ca=other.pem)
    status = field.until("east", ConnectionState.DISCONNECTED)
    assert status.reason == ConnectionReason.CERTIFICATE_INVALID
    field.ensure("east", server, ca=ca.pem)
    assert field.until("east", ConnectionState.READY).version == "v1.36.0"


def test_a_cluster_that_goes_away_and_comes_back(field: Field) -> None:
    server = field.server()
    heard: list[ConnectionState | None] = []

    def note(key: str) -> None:
        status = field.pool.status(key)
        heard.append(status.state if status else None)

    field.pool.subscribe(note)
    field.ensure("east", server)
    field.until("east", ConnectionState.READY)
    field.server_loop.run(server.stop())
    field.until("east", ConnectionState.DISCONNECTED)
    with pytest.raises(NotConnected, match="refused"):
        field.pool.client("east")
    field.server_loop.run(server.start())
    field.until("east", ConnectionState.READY)
    assert heard == [
        ConnectionState.CONNECTING,
        ConnectionState.READY,
        ConnectionState.DEGRADED,
        ConnectionState.DISCONNECTED,
        ConnectionState.READY,
    ]


def test_the_client_works_and_rotation_costs_no_request(field: Field) -> None:
    server = field.server()

    def answer(request: Received) -> Reply:
        return Reply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})

    server.on("GET", "/api/v1/namespaces/default/configmaps/x", answer)
    field.ensure("east", server)
    field.until("east", ConnectionState.READY)
    field.ensure("east", server, token="second")

    def rotated() -> bool:
        maps = field.pool.client("east").resource(CONFIG_MAPS)
        assert maps.get("x", namespace="default")["metadata"]["name"] == "x"
        return server.received[-1].header("authorization") == "Bearer second"

    eventually(rotated, poll_seconds=0.01)


def test_rotation_under_load_fails_no_request(field: Field) -> None:
    """Promise 7: the server refuses each old token as soon as a newer one was used."""
    server = field.server()
    tokens = [f"token-{number}" for number in range(10)]
    newest = 0

    def answer(request: Received) -> Reply:
        time_of = tokens.index(request.header("authorization").removeprefix("Bearer "))
        if time_of < newest - 1:
            return Reply(status_body(401, "Unauthorized", "Unauthorized"), status=401)
        return Reply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})

    server.on("GET", "/api/v1/namespaces/default/configmaps/x", answer)
    field.ensure("east", server, token=tokens[0])
    field.until("east", ConnectionState.READY)
    done, ends = [0] * 4, threading.Event()
    failures: list[Exception] = []

    def load(worker: int) -> None:
        while not ends.is_set():
            try:
                maps = field.pool.client("east").resource(CONFIG_MAPS)
                maps.get("x", namespace="default")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                failures.append(error)
            done[worker] += 1

    threads = [start_thread(partial(load, worker), name=f"load-{worker}") for worker in range(4)]
    for number, token in enumerate(tokens[1:], 1):
        field.ensure("east", server, token=token)

        def used(token: str = token) -> bool:
            return server.received[-1].header("authorization") == f"Bearer {token}"

        eventually(used, poll_seconds=0.001)
        newest = number
        before = list(done)
        eventually(
            lambda before=before: all(now > was + 2 for now, was in zip(done, before, strict=True)),  # type: ignore[misc]
            poll_seconds=0.001,
        )
    ends.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_80_clusters_stay_ready_beside_20_that_never_answer(patient_field: Field) -> None:
    """Promise 2, over real sockets: while the 20 fail on and on, none of the 80 misses a probe."""
    field = patient_field
    healthy, hanging = field.server(), field.server(status=0, ending="hang")
    for number in range(100):
        server = hanging if number % 5 == 0 else healthy
        field.ensure(f"c{number}", server, token=f"token-{number}")

    def are_ready() -> bool:
        states = [status.state for status in field.pool.statuses()]
        return states.count(ConnectionState.READY) == 80

    eventually(are_ready)
    begun = len(healthy.requests("GET", "/readyz"))

    def probes() -> Counter[str]:
        requests = healthy.requests("GET", "/readyz")[begun:]
        return Counter(request.header("authorization") for request in requests)

    def enough() -> bool:
        counts = probes()
        return len(counts) == 80 and min(counts.values()) >= 6

    eventually(enough)
    assert are_ready()
    # Each probes for itself: nobody's turns are taken by others.
    counts = probes()
    assert max(counts.values()) <= 2 * min(counts.values())
    assert len(hanging.requests("GET", "/readyz")) >= 20


def test_a_watch_goes_on_over_a_restart_of_its_cluster(patient_field: Field) -> None:
    """Promises 6 and 9, over real sockets."""
    field = patient_field
    server = field.server()
    meta = {"name": "x", "namespace": "default", "uid": "1", "resourceVersion": "5"}
    listed = {
        "kind": "ConfigMapList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "5"},
        "items": [{"metadata": meta}],
    }
    later = {**meta, "name": "y", "uid": "2", "resourceVersion": "6"}
    lines = {
        "5": watch_line("ADDED", {"kind": "ConfigMap", "metadata": later}),
        "6": watch_line("BOOKMARK", {"kind": "ConfigMap", "metadata": {"resourceVersion": "6"}}),
    }
    both = ["root|default/x", "root|default/y"]

    def answer(request: Received) -> Reply:
        if "watch" not in request.query:
            return Reply(listed)
        return Reply(chunks=[lines[request.query["resourceVersion"]]], ending="hang")

    server.on("GET", "/api/v1/configmaps", answer)
    field.ensure("east", server)
    field.until("east", ConnectionState.READY)
    watch = field.pool.watch("east", CONFIG_MAPS)

    def keys() -> list[str]:
        try:
            return watch.lister.keys()
        except NotConnected:
            return []

    eventually(lambda: keys() == both)
    field.server_loop.run(server.stop())
    field.until("east", ConnectionState.DISCONNECTED)
    assert keys() == []
    assert watch.stale()[0].keys() == both
    field.server_loop.run(server.start())
    eventually(lambda: keys() == both)
    requests = server.requests("GET", "/api/v1/configmaps")
    assert ["watch" in request.query for request in requests] == [False, True, True]
    field.pool.remove("east")
    assert watch.ended


def test_100_removals_leave_no_task_and_no_socket(field: Field) -> None:
    servers = [field.server(), field.server(status=0, ending="hang")]
    for number in range(100):
        field.ensure(f"c{number}", servers[number % 2])
    eventually(lambda: field.pool.status("c98").state is ConnectionState.READY)  # type: ignore[union-attr]
    for number in range(100):
        field.pool.remove(f"c{number}")
    assert field.names() == []
    assert field.pool.statuses() == []
    eventually(lambda: sum(server.live_connections for server in servers) == 0)
