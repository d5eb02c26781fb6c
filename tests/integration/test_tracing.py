"""Traces over real sockets: who is whose parent, what is told, and where it goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Client, ClientConfig
from kcpctl.controller import Controller, Request, Result
from kcpctl.errors import TerminalError
from kcpctl.informers import InformerFactory
from kcpctl.logicalcluster import ClusterName
from kcpctl.runtime import IOLoop, start_thread
from kcpctl.runtime.tracing import enable, exported, span
from kcpctl.testing import eventually
from kcpctl.testing.scripted import Reply, ScriptedServer, watch_line

MAPS = "/clusters/one/api/v1/namespaces/default/configmaps"
CONFIG_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "default", "resourceVersion": "5", "uid": "u"},
    "data": {"key": "s3cret"},
}


class Traced:
    """A server, a client bound to one of its logical clusters, and the spans that came."""

    def __init__(self, io_loop: IOLoop, server: ScriptedServer) -> None:
        self.server = server
        self.io_loop = io_loop
        config = ClientConfig(server=server.url, cluster=ClusterName("one"), token="s3cret")
        self.client = Client(AsyncClient.plain(config), io_loop)
        self.exporter = InMemorySpanExporter()

    def spans(self, name: str) -> list[ReadableSpan]:
        """Return those of one name that have ended."""
        return [one for one in self.exporter.get_finished_spans() if one.name == name]

    def one(self, name: str) -> ReadableSpan:
        eventually(lambda: self.spans(name))
        (found,) = self.spans(name)
        return found

    def reconcile(self, work: Callable[[Request], Result | None]) -> None:
        """Let a worker do ``work`` once, for a key of the logical cluster."""

        class Reconciler:
            def reconcile(self, request: Request) -> Result | None:
                return work(request)

        controller = Controller("test", Reconciler(), workers=1)
        controller.start()
        controller.enqueue("one|default/a")
        eventually(lambda: self.spans("reconcile test"))
        controller.stop()


@pytest.fixture
def traced() -> Iterator[Traced]:
    with IOLoop("test-server") as theirs, IOLoop() as ours:
        server = ScriptedServer()
        theirs.run(server.start())
        made = Traced(ours, server)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(made.exporter))
        enable(provider)
        yield made
        enable(None)
        provider.shutdown()
        made.client.close()
        theirs.run(server.stop())


def ids(one: ReadableSpan) -> tuple[int, int]:
    assert one.context is not None
    return one.context.trace_id, one.context.span_id


def is_child(one: ReadableSpan, parent: ReadableSpan) -> bool:
    assert one.parent is not None
    return (one.parent.trace_id, one.parent.span_id) == ids(parent)


def test_a_request_is_part_of_the_reconcile_that_made_it_and_so_is_what_follows_from_it(
    traced: Traced,
) -> None:
    traced.server.on("GET", f"{MAPS}/a", Reply(CONFIG_MAP))
    maps = traced.client.resource(CONFIG_MAPS)
    traced.reconcile(lambda request: (maps.get("a", namespace="default"), Result(30))[1])
    reconcile, request = traced.one("reconcile test"), traced.one("get configmaps")
    assert reconcile.parent is None
    assert is_child(request, reconcile)
    trace, span_id = ids(request)
    (received,) = traced.server.received
    assert received.header("traceparent").startswith(f"00-{trace:032x}-{span_id:016x}-")
    told = dict(reconcile.attributes or {})
    assert len(str(told.pop("reconcileID"))) == 36
    assert told == {
        "controller": "test",
        "cluster": "one",
        "namespace": "default",
        "name": "a",
        "outcome": "requeue_after",
    }
    assert request.attributes == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": traced.server.port,
        "cluster": "one",
        "verb": "get",
        "resource": "configmaps",
        "namespace": "default",
        "name": "a",
        "http.response.status_code": 200,
    }


def test_what_fails_is_marked_with_its_error(traced: Traced) -> None:
    maps = traced.client.resource(CONFIG_MAPS)

    def work(request: Request) -> None:
        try:
            maps.get("a", namespace="default")
        finally:
            raise TerminalError("give up")

    traced.reconcile(work)
    reconcile, request = traced.one("reconcile test"), traced.one("get configmaps")
    assert reconcile.status.description == "TerminalError: give up"
    assert dict(reconcile.attributes or {})["outcome"] == "error"
    assert dict(request.attributes or {})["http.response.status_code"] == 404
    assert str(request.status.description).startswith("NotFound: ")


def test_no_span_holds_a_body_or_a_credential(traced: Traced) -> None:
    traced.server.on("POST", MAPS, Reply(CONFIG_MAP, status=201))
    traced.client.resource(CONFIG_MAPS).create(CONFIG_MAP)
    assert "s3cret" not in traced.one("create configmaps").to_json()


def test_an_informer_is_no_part_of_the_reconcile_that_starts_it(traced: Traced) -> None:
    path = "/clusters/one/api/v1/configmaps"
    page = {"kind": "List", "metadata": {"resourceVersion": "5"}, "items": [CONFIG_MAP]}
    quiet = Reply(chunks=[watch_line("BOOKMARK", CONFIG_MAP)], ending="hang")
    traced.server.on("GET", path, Reply(page), quiet)
    factory = InformerFactory(traced.client.aio, traced.io_loop, streaming=False)
    factory.informer(CONFIG_MAPS)
    with span("caller", {}):
        factory.start()
        factory.wait_for_sync(60)
    sync, watch = traced.one("informer sync"), traced.one("watch configmaps")
    assert (sync.parent, watch.parent) == (None, None)
    assert is_child(traced.one("list configmaps"), sync)
    assert dict(sync.attributes or {})["objects"] == 1
    assert dict(sync.attributes or {})["method"] == "list"
    factory.close()


def test_a_streamed_state_is_one_span_and_what_follows_is_none_of_it(traced: Traced) -> None:
    path = "/clusters/one/api/v1/configmaps"
    end = {"resourceVersion": "5", "annotations": {"k8s.io/initial-events-end": "true"}}
    last = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": end}
    lines = [watch_line("ADDED", CONFIG_MAP), watch_line("BOOKMARK", last)]
    traced.server.on("GET", path, Reply(chunks=lines, ending="hang"))
    factory = InformerFactory(traced.client.aio, traced.io_loop)
    factory.informer(CONFIG_MAPS)
    factory.start()
    factory.wait_for_sync(60)
    sync = traced.one("informer sync")
    assert is_child(traced.one("watch configmaps"), sync)
    assert (dict(sync.attributes or {})["objects"], sync.status.description) == (1, None)
    factory.close()


class Collector:
    """What receives traces: the paths and bodies of the requests."""

    def __init__(self) -> None:
        received = self.received = list[tuple[str, bytes]]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)


def test_spans_are_exported_as_the_environment_says_before_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collector = Collector()
    thread = start_thread(collector.server.serve_forever, name="collector")
    port = collector.server.server_port
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with exported("my-service"), span("work", {"name": "a"}):
        pass
    ((path, body),) = collector.received
    assert path == "/v1/traces"
    for word in (b"my-service", b"deployment.environment", b"work"):
        assert word in body
    collector.server.shutdown()
    collector.server.server_close()
    thread.join()
    assert not [one for one in threading.enumerate() if "Otel" in one.name]
