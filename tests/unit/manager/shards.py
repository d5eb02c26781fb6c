"""A kcp in memory: the workspace of an export, and endpoints that show its consumers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from kcpctl.client import AsyncClient, Call, ClientConfig, Response

Json = dict[str, Any]
Key = tuple[str, str]

_KINDS = {
    "apibindings": "APIBinding",
    "apiexportendpointslices": "APIExportEndpointSlice",
    "configmaps": "ConfigMap",
    "secrets": "Secret",
}


def _event(type_: str, obj: Json) -> bytes:
    return msgspec.json.encode({"type": type_, "object": obj}) + b"\n"


class Shard:
    """One server; all of it on the I/O loop. ``down`` is raised instead of every answer, and
    ``failing`` instead of those about a plural.
    """

    def __init__(self, server: str) -> None:
        self.server = server
        self.down: Exception | None = None
        self.silent = False
        self.failing: dict[str, Exception] = {}
        self.objects: dict[str, dict[Key, Json]] = defaultdict(dict)
        self.requests: list[str] = []
        self.writes: list[str] = []
        self.closed = False
        self._version = 100
        self._watches: dict[str, list[asyncio.Queue[bytes]]] = defaultdict(list)
        # Of each plural, every event there was, with its version.
        self._history: dict[str, list[tuple[int, bytes]]] = defaultdict(list)

    def put(self, plural: str, cluster: str, name: str, **fields: Any) -> None:
        """Create or replace an object."""
        before = self.objects[plural].get((cluster, name))
        self._version += 1
        metadata = fields.pop("metadata", {})
        made = {
            "kind": _KINDS[plural],
            "metadata": {
                "name": name,
                "uid": f"{cluster}-{name}",
                "resourceVersion": str(self._version),
                **metadata,
                "annotations": {"kcp.io/cluster": cluster, **metadata.get("annotations", {})},
            },
            **fields,
        }
        self.objects[plural][cluster, name] = made
        self._send(plural, "ADDED" if before is None else "MODIFIED", made)

    def delete(self, plural: str, cluster: str, name: str) -> None:
        """Delete an object."""
        gone = self.objects[plural].pop((cluster, name))
        self._version += 1
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._send(plural, "DELETED", gone)

    def bind(self, cluster: str, *, ready: bool = True, path: str = "", name: str = "b") -> None:
        """Show a binding."""
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        annotations = {"kcp.io/path": path} if path else {}
        self.put(
            "apibindings",
            cluster,
            name,
            metadata={"annotations": annotations},
            status={"conditions": [condition]},
        )

    def unbind(self, cluster: str, name: str = "b") -> None:
        """Show it no more."""
        self.delete("apibindings", cluster, name)

    def _send(self, plural: str, type_: str, obj: Json) -> None:
        event = _event(type_, obj)
        self._history[plural].append((self._version, event))
        for watch in self._watches[plural]:
            watch.put_nowait(event)

    def _check(self, plural: str) -> None:
        if self.down is not None:
            raise self.down
        if plural in self.failing:
            raise self.failing[plural]

    async def request(self, call: Call) -> Response:
        plural = call.path.rpartition("/")[2]
        self.requests.append(f"{call.method} {call.path}")
        if call.method != "GET":
            self.writes.append(call.path)
            self._version += 1
            version = str(self._version)
            answer: Json = {"metadata": {"name": "x", "uid": "u", "resourceVersion": version}}
            return Response(200, {}, msgspec.json.encode(answer))
        self._check(plural)
        items = list(self.objects[plural].values())
        metadata = {"resourceVersion": str(self._version)}
        kind = f"{_KINDS[plural]}List"
        answer = {"kind": kind, "apiVersion": "v1", "metadata": metadata, "items": items}
        return Response(200, {}, msgspec.json.encode(answer))

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        plural = call.path.rpartition("/")[2]
        self.requests.append(f"GET {call.path}")
        self._check(plural)
        if self.silent:
            await asyncio.Event().wait()
        sent: asyncio.Queue[bytes] = asyncio.Queue()
        self._watches[plural].append(sent)
        if call.query.get("sendInitialEvents"):
            for obj in self.objects[plural].values():
                sent.put_nowait(_event("ADDED", obj))
            metadata = {
                "resourceVersion": str(self._version),
                "annotations": {"k8s.io/initial-events-end": "true"},
            }
            sent.put_nowait(_event("BOOKMARK", {"kind": _KINDS[plural], "metadata": metadata}))
        else:
            since = int(call.query["resourceVersion"])
            for version, event in self._history[plural]:
                if version > since:
                    sent.put_nowait(event)
        try:
            yield b""
            while True:
                yield await sent.get()
        finally:
            self._watches[plural].remove(sent)

    async def close(self) -> None:
        self.closed = True


class Kcp:
    """All servers, by the URL that a client is made for."""

    def __init__(self, path: str, export: str) -> None:
        self.config = ClientConfig(server="https://kcp:6443", token="secret")
        self.export = export
        self.path = path
        self.home = Shard(self.config.server)
        self.shards: dict[str, Shard] = {}

    def shard(self, name: str) -> Shard:
        """Return the shard of that name, which serves the export at ``url(name)``."""
        url = self.url(name)
        return self.shards.setdefault(url, Shard(url))

    @staticmethod
    def url(name: str) -> str:
        return f"https://{name}:6443/services/apiexport/home/export"

    def publish(self, *names: str, urls: tuple[str, ...] = ()) -> None:
        """Have the slice list the endpoints of some shards."""
        endpoints = [{"url": url} for url in (*map(self.url, names), *urls)]
        status = {"endpoints": endpoints} if endpoints else {}
        self.home.put("apiexportendpointslices", "home", self.export, status=status)

    def new_slice_client(self, config: ClientConfig) -> AsyncClient:
        return AsyncClient(self.home, cluster_name=self.path, prefix=f"/clusters/{self.path}")

    def new_client(self, config: ClientConfig) -> AsyncClient:
        assert config.token == "secret"
        shard = self.shards[config.server]
        shard.closed = False
        return AsyncClient(shard, cluster_name="*", prefix="/clusters/*", multi_cluster=True)
