"""What a client asks for, in the words of RBAC: to compare a role with what is used of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from kcpctl.client.access import Access, access_of
from kcpctl.client.transport import Call, Response, Transport

__all__ = ["RecordingTransport"]

_CREATED: Final = 201


class RecordingTransport:
    """Passes every call on to another transport and notes what it needs in ``used``.

    Also what is refused. A server-side apply needs ``patch``, and ``create`` where it has created.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.used: set[Access] = set()

    @property
    def server(self) -> str:
        """The base URL."""
        return self._transport.server

    async def request(self, call: Call) -> Response:
        """Pass on a call."""
        access = self._note(call)
        response = await self._transport.request(call)
        if access is not None and call.method == "PATCH" and response.status == _CREATED:
            self.used.add(access._replace(verb="create"))
        return response

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        """Pass on a call whose answer is read in pieces."""
        self._note(call)
        async for piece in self._transport.stream(call):
            yield piece

    async def close(self) -> None:
        """Close the other transport."""
        await self._transport.close()

    def _note(self, call: Call) -> Access | None:
        access = access_of(call)
        if access is not None:
            self.used.add(access)
        return access
