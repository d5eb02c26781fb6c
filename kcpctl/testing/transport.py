"""A transport that answers from memory, for tests that need no socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec

from kcpctl.client.transport import Call, Response

__all__ = ["FakeTransport"]


class FakeTransport:
    """A ``Transport`` that answers each request with the next of ``answers``; the last one stays.

    An answer is JSON data, bytes, or an error to raise. A stream yields all of them. ``calls``
    has every call in order.
    """

    server = "https://host:6443"

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)
        self.calls: list[Call] = []
        self.closed = False

    @property
    def call(self) -> Call:
        """The only call."""
        (only,) = self.calls
        return only

    @property
    def body(self) -> object:
        """The body of the last call, decoded."""
        body = self.calls[-1].body
        return None if body is None else msgspec.json.decode(body)

    async def request(self, call: Call) -> Response:
        """Return the next answer."""
        self.calls.append(call)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
        return Response(200, {}, body)

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        """Yield every answer."""
        self.calls.append(call)
        for answer in self._answers:
            if isinstance(answer, Exception):
                raise answer
            yield answer if isinstance(answer, bytes) else msgspec.json.encode(answer) + b"\n"

    async def close(self) -> None:
        """Note it."""
        self.closed = True
