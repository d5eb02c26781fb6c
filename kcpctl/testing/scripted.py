"""A server that answers as its script says, over real sockets: also half an answer, or none."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from kcpctl.runtime import TaskSet

__all__ = ["Received", "Reply", "ScriptedServer", "status_body", "watch_line"]

Ending = Literal["end", "cut", "reset", "hang"]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came. ``headers`` have lower-case names; repeated ones are a list.

    ``peer`` is the common name in the client's certificate, or "".
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, list[str]]
    body: bytes
    peer: str = ""

    def header(self, name: str) -> str:
        """Return the first header of that name, or ""."""
        return self.headers.get(name.lower(), [""])[0]

    def json(self) -> Any:
        """Return the body decoded."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What one request gets.

    ``body`` is bytes or JSON data, sent with its length; with ``chunks`` the answer is chunked
    instead, each written on its own, as a watch does it; given as an iterator they may come as
    slowly as it likes, until the client closes. ``ending``: ``end`` finishes the answer in order;
    ``cut`` closes the connection without finishing it; ``reset`` does so with a TCP reset; ``hang``
    sends no more until the client closes. ``status=0`` sends nothing at all before the ending.
    ``truncate`` promises that many bytes more than are sent, or fewer.
    """

    body: bytes | Mapping[str, Any] | Sequence[Any] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Sequence[bytes] | AsyncIterable[bytes] | None = None
    ending: Ending = "end"
    truncate: int = 0


Answer = Reply | Callable[[Received], Reply]


def status_body(code: int, reason: str = "", message: str = "", **more: Any) -> dict[str, Any]:
    """Return a ``v1.Status`` that tells of a failure."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message or reason,
        "reason": reason,
        "code": code,
        **more,
    }


def watch_line(type_: str, obj: Mapping[str, Any]) -> bytes:
    """Return one line of a watch."""
    return json.dumps({"type": type_, "object": obj}, separators=(",", ":")).encode() + b"\n"


class ScriptedServer:
    """An HTTP/1.1 server on a free port of 127.0.0.1.

    ``on`` scripts a method and path: each request takes the next answer, and the last one stays.
    What is not scripted gets a 404 Status. ``received`` has every request in order, and
    ``live_connections`` counts the open ones. Use it as an async context manager.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.received: list[Received] = []
        self._host = host
        self._tls = tls
        self._script: dict[tuple[str, str], list[Answer]] = {}
        self._server: asyncio.Server | None = None
        self._port = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._playing = TaskSet("scripted server")
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Condition()
        self._holds = False

    @property
    def port(self) -> int:
        """The port, which stays the same after ``stop`` and ``start``."""
        return self._port

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    @property
    def live_connections(self) -> int:
        """How many connections are open."""
        return len(self._writers)

    def on(self, method: str, path: str, *answers: Answer) -> None:
        """Script the answers to a method and path (without query)."""
        self._script[method, path] = list(answers)

    def requests(self, method: str, path: str) -> list[Received]:
        """Return what came for a method and path."""
        return [one for one in self.received if (one.method, one.path) == (method, path)]

    async def until(self, check: Callable[[], bool], *, timeout_seconds: float = 60) -> None:
        """Wait until ``check`` holds; it is asked when a request came or a connection ended."""
        async with asyncio.timeout(timeout_seconds), self._changed:
            await self._changed.wait_for(check)

    def hold_connections(self) -> None:
        """From now on accept connections and say nothing, not even a TLS greeting."""
        self._holds = True

    async def start(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(
            self._serve, self._host, self._port, ssl=self._tls
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening and cut every connection; connecting is refused then."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            while self._holds:
                if not await reader.read(4096):
                    return
            while (request := await _read_request(reader, _peer(writer))) is not None:
                self.received.append(request)
                await self._notify()
                reply = self._answer(request)
                if isinstance(reply.chunks, AsyncIterable):
                    goes_on = await self._play(reply, reply.chunks, reader, writer)
                else:
                    goes_on = await _send(reply, reader, writer)
                if not goes_on:
                    break
        except (OSError, EOFError):
            pass
        except asyncio.CancelledError:
            # Only stop() cancels; the streams' own callback would report it as an error.
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)
            self._writers.discard(writer)
            await self._notify()

    async def _play(
        self,
        reply: Reply,
        chunks: AsyncIterable[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Write chunks as they come, until they end or the client goes away."""

        async def write() -> None:
            async for chunk in chunks:
                _write_chunk(chunk, writer)
                await writer.drain()

        _write_head_and_body(reply, writer)
        writing = self._playing.spawn(write(), name="chunks")
        leaving = self._playing.spawn(reader.read(), name="client")
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                return False
            writing.result()
            if reply.ending == "hang":
                await asyncio.wait({leaving})
        finally:
            writing.cancel()
            leaving.cancel()
            await asyncio.wait({writing, leaving})
        return await _end(reply, writer)

    def _answer(self, request: Received) -> Reply:
        answers = self._script.get((request.method, request.path))
        if not answers:
            message = f"{request.method} {request.path} is not in the script"
            return Reply(status_body(404, "NotFound", message), status=404)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer if isinstance(answer, Reply) else answer(request)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


_REASONS: Final = {200: "OK", 201: "Created"}


def _peer(writer: asyncio.StreamWriter) -> str:
    subject = (writer.get_extra_info("peercert") or {}).get("subject", ())
    return next((value for ((key, value),) in subject if key == "commonName"), "")


async def _read_request(reader: asyncio.StreamReader, peer: str) -> Received | None:
    first = (await reader.readline()).decode("latin-1").split()
    if len(first) != 3 or not first[2].startswith("HTTP/"):
        return None
    headers: dict[str, list[str]] = {}
    while (line := (await reader.readline()).decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    length = int(headers.get("content-length", ["0"])[0])
    target = urlsplit(first[1])
    return Received(
        method=first[0],
        path=unquote(target.path),
        query=dict(parse_qsl(target.query, keep_blank_values=True)),
        headers=headers,
        body=await reader.readexactly(length),
        peer=peer,
    )


async def _send(reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Write the reply; whether the connection goes on."""
    if reply.status:
        _write_head_and_body(reply, writer)
        assert not isinstance(reply.chunks, AsyncIterable), "those are played"
        for chunk in reply.chunks or ():
            _write_chunk(chunk, writer)
            await writer.drain()
    if reply.ending == "hang":
        await writer.drain()
        await reader.read()
    return await _end(reply, writer)


def _write_chunk(chunk: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")


async def _end(reply: Reply, writer: asyncio.StreamWriter) -> bool:
    if reply.chunks is not None and reply.status and reply.ending == "end":
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    if reply.ending == "hang":
        return False
    if reply.ending == "reset":
        _abort_with_reset(writer)
        return False
    if reply.ending == "cut" or reply.truncate > 0:
        writer.close()
        return False
    return True


def _write_head_and_body(reply: Reply, writer: asyncio.StreamWriter) -> None:
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    headers = {"Content-Type": "application/json", **reply.headers}
    if reply.chunks is None:
        headers["Content-Length"] = str(len(body) + reply.truncate)
    else:
        headers["Transfer-Encoding"] = "chunked"
    reason = _REASONS.get(reply.status, "Status")
    head = f"HTTP/1.1 {reply.status} {reason}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(head.encode("latin-1") + b"\r\n")
    if reply.chunks is None:
        writer.write(body)


def _abort_with_reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    # Linger for zero seconds: closing sends RST instead of FIN.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
