"""Measure what one idle watch costs its client in memory: `python hack/bench/watches.py --tls`.

A server process of its own answers N watches and says nothing more. Printed is the growth of this
process's resident memory, per watch, as one JSON row.
"""

from __future__ import annotations

import argparse
import asyncio
import asyncio.sslproto
import gc
import json
import multiprocessing
import os
import platform
import resource
import ssl
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, ClientConfig
from kcpctl.informers.source import ClientSource
from kcpctl.runtime import TaskSet

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    b"Audit-Id: 3d1e1bd8-5d4f-4c4e-9f5b-6d1e1bd85d4f\r\nCache-Control: no-cache, private\r\n"
    b"X-Kubernetes-Pf-Flowschema-Uid: 3d1e1bd8-5d4f-4c4e-9f5b-6d1e1bd85d4f\r\n"
    b"X-Kubernetes-Pf-Prioritylevel-Uid: 3d1e1bd8-5d4f-4c4e-9f5b-6d1e1bd85d4f\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n\r\n"
)
# A watch is opened with an event: what reading one leaves behind is part of its cost.
_EVENT = (
    b'{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a",'
    b'"namespace":"default","uid":"u","resourceVersion":"2"},"data":{"k":"'
    + b"v" * 2500
    + b'"}}}\n'
)
_BATCH = 100


class _Quiet(asyncio.Protocol):
    """Answers each request with the beginning of a watch."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(_HEAD + f"{len(_EVENT):x}\r\n".encode() + _EVENT + b"\r\n")


def _serve(ready: Connection, tls: bool) -> None:
    async def main() -> None:
        context, ca = _server_tls() if tls else (None, b"")
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Quiet, "127.0.0.1", 0, ssl=context, backlog=1024)
        ready.send((server.sockets[0].getsockname()[1], ca))
        await loop.run_in_executor(None, ready.poll, None)
        # Five thousand polite farewells take longer than the measurement.
        os._exit(0)

    asyncio.sslproto.SSLProtocol.max_size = 16 * 1024
    _many_files()
    asyncio.run(main())


def _server_tls() -> tuple[ssl.SSLContext, bytes]:
    from kcpctl.testing.certificates import CertificateAuthority

    authority = CertificateAuthority()
    return authority.server_context(), authority.pem


def _many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _resident_bytes() -> int:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@asynccontextmanager
async def _open(client: AsyncClient, count: int) -> AsyncIterator[None]:
    """Hold ``count`` watches open, each read by a task of its own."""
    begun = asyncio.Semaphore(0)
    source = ClientSource(client, CONFIG_MAPS)

    async def read() -> None:
        async for batch in source.watch(resource_version="1", timeout_seconds=600):
            if batch:
                begun.release()
            del batch

    tasks = TaskSet("bench")
    for start in range(0, count, _BATCH):
        for _ in range(min(_BATCH, count - start)):
            tasks.spawn(read(), name="watch")
        for _ in range(min(_BATCH, count - start)):
            await begun.acquire()
    yield
    await tasks.close()


async def _measure(url: str, ca: bytes, count: int, trace: bool) -> float:
    client = AsyncClient.plain(ClientConfig(server=url, ca=ca or None))
    # What is made once is not the cost of one more watch.
    async with _open(client, 20):
        pass
    if trace:
        tracemalloc.start(8)
    before = _resident_bytes()
    async with _open(client, count):
        await asyncio.sleep(1)
        growth = _resident_bytes() - before
        if trace:
            _show(count)
    await client.close()
    return growth / count


def _show(count: int) -> None:
    statistics = tracemalloc.take_snapshot().statistics("lineno")
    total = sum(one.size for one in statistics)
    print(f"traced: {total / count:.0f} bytes per watch", file=sys.stderr)
    for one in statistics[:40]:
        print(f"{one.size / count:8.0f} {one.count / count:6.1f}  {one.traceback}", file=sys.stderr)


def main() -> None:
    """Start the server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--count", type=int, default=5000)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--trace", action="store_true", help="show what Python allocates, by line")
    options = parser.parse_args()
    _many_files()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, options.tls))
    server.start()
    try:
        port, ca = ours.recv()
        url = f"{'https' if options.tls else 'http'}://127.0.0.1:{port}"
        per_watch = asyncio.run(_measure(url, ca, options.count, options.trace))
    finally:
        ours.send(None)
        server.join()
    row = {
        "watches": options.count,
        "tls": options.tls,
        "kb_per_watch": round(per_watch / 1024, 1),
        "python": platform.python_version(),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
