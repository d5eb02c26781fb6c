"""Small HTTP endpoints on the I/O loop: health and metrics."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kcpctl.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Endpoint", "HttpServer", "is_loopback"]

Handler = Callable[["web.Request"], Awaitable["web.Response"]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen: ``:8081`` (all interfaces), ``127.0.0.1:8081``, ``8081``; ``0`` is off.

    ``flag`` is named in messages. With ``allow_free_port`` a port in use is replaced by a free
    one; otherwise it is an error (decision 18).
    """

    address: str
    flag: str
    allow_free_port: bool = False

    @property
    def host_and_port(self) -> tuple[str | None, int] | None:
        """The parsed address, None if it is off; raises UsageError for anything else."""
        host, _, port = self.address.strip().rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise UsageError(
                f"{self.flag} {self.address!r} is not an address; write host:port, :port, "
                "or 0 to turn it off"
            )
        return (host or None, int(port)) if int(port) else None

    def require_loopback(self) -> None:
        """Raise UsageError unless only this machine can reach it, or it is off."""
        wanted = self.host_and_port
        if wanted is not None and not is_loopback(wanted[0] or ""):
            raise UsageError(
                f"{self.flag} {self.address!r} would show internals to other machines; write "
                f"127.0.0.1:{wanted[1]} or [::1]:{wanted[1]}, and forward that port if need be"
            )

    def cannot_listen(self, error: OSError) -> ConfigError:
        """Return the error that says why, and the way out."""
        if error.errno == errno.EADDRINUSE:
            port = self.address.rpartition(":")[2].strip()
            why = f"port {port} is in use by another process"
        else:
            why = f"cannot listen on {self.address!r}: {error.strerror or error}"
        return ConfigError(
            f"{why}; choose another address with {self.flag} host:port, "
            f"or {self.flag} 0 to turn it off"
        )


def is_loopback(host: str) -> bool:
    """Whether this is an address of the loopback interface; names are none, but for localhost."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HttpServer:
    """Serves GET routes at an endpoint. ``start`` and ``close`` belong on the I/O loop.

    ``start`` raises ConfigError, naming port and flag, when it cannot listen. ``address`` is
    ``host:port`` as it really listens, "" while it does not (or is off).
    """

    def __init__(self, endpoint: Endpoint, routes: Mapping[str, Handler]) -> None:
        self._endpoint = endpoint
        self._routes = routes
        self._runner: web.AppRunner | None = None
        self.address = ""

    async def start(self) -> None:
        """Listen."""
        wanted = self._endpoint.host_and_port
        if wanted is None:
            return
        from aiohttp import web  # costs 30 ms that a process without endpoints need not pay

        app = web.Application()
        app.add_routes([web.get(path, handler) for path, handler in self._routes.items()])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            self.address = await self._listen(self._runner, *wanted)
        except BaseException:
            await self.close()
            raise

    async def _listen(self, runner: web.AppRunner, host: str | None, port: int) -> str:
        from aiohttp import web

        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not self._endpoint.allow_free_port:
                    raise
                await web.TCPSite(runner, host or "0.0.0.0", 0).start()
        except OSError as error:
            raise self._endpoint.cannot_listen(error) from error
        name, number, *_ = runner.addresses[0]
        return f"[{name}]:{number}" if ":" in name else f"{name}:{number}"

    async def close(self) -> None:
        """Stop listening and close the connections. May be called twice."""
        runner, self._runner, self.address = self._runner, None, ""
        if runner is not None:
            await runner.cleanup()
