"""The spans of requests: what was asked for and how it was answered, never what was in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from yarl import URL

from kcpctl.client.access import access_of
from kcpctl.client.transport import Call
from kcpctl.errors import ApiError
from kcpctl.runtime.tracing import Span, span

__all__ = ["STATUS", "request_span"]

STATUS: Final = "http.response.status_code"


@contextmanager
def request_span(call: Call, server: URL) -> Iterator[Span]:
    """Let what runs inside be the span of a call, its retries included, until its answer.

    The names are OpenTelemetry's where it has any; ``verb``, ``resource``, ``namespace`` and
    ``cluster`` are as in log lines. The query is left out: selectors may hold anything.
    """
    attributes: dict[str, str | bool | int | float] = {
        "http.request.method": call.method,
        "server.address": server.host or "",
        "server.port": server.port or 0,
    }
    if call.path.startswith("/clusters/"):
        attributes["cluster"] = call.path.split("/", 3)[2]
    access = access_of(call)
    if access is None:
        name = f"{call.method} {call.path}"
        attributes["url.path"] = call.path
    else:
        resource = f"{access.resource}.{access.group}" if access.group else access.resource
        name = f"{access.verb} {resource}"
        attributes |= {"verb": access.verb, "resource": resource}
        attributes |= {"namespace": access.namespace} if access.namespace else {}
        attributes |= {"name": access.name} if access.name else {}
    with span(name, attributes, client=True) as made:
        try:
            yield made
        except ApiError as error:
            made.set(STATUS, error.code)
            raise
