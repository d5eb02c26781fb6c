"""The health endpoints of a syncer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kcpctl.manager.endpoint import Endpoint, Handler, HttpServer
from kcpctl.manager.health import Check, report

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["health_server"]


def health_server(address: str, *, live: Check, ready: Check) -> HttpServer:
    """Return a server of ``/healthz``, ``/livez`` and ``/readyz``, not started yet.

    Liveness is about the loops being alive and never about syncs succeeding: a restart mends no
    cluster.
    """
    routes = {
        "/healthz": _handler("/healthz", "loops", live),
        "/livez": _handler("/livez", "loops", live),
        "/readyz": _handler("/readyz", "heartbeat", ready),
    }
    return HttpServer(Endpoint(address, "--health-probe-bind-address"), routes)


def _handler(path: str, name: str, check: Check) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        from aiohttp import web

        healthy, text = report(path, {name: check}, verbose="verbose" in request.query)
        return web.Response(text=text, status=200 if healthy else 503)

    return answer
