"""The debug endpoint: on loopback, on a thread of its own."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

from kcpctl.manager.debug import Page
from kcpctl.manager.endpoint import Endpoint, is_loopback
from kcpctl.runtime import get_logger, start_thread

__all__ = ["DebugServer"]

_log = get_logger(__name__)
_CLIENT_SECONDS: Final = 5.0
_STOP_POLL_SECONDS: Final = 0.1


class DebugServer:
    """Serves pages to this machine only, one request at a time.

    Not on the I/O loop: it must answer when that hangs, and must not hold it up. Raises UsageError
    for an address that is not on loopback; ``start`` raises ConfigError when it cannot listen.
    Requests under another Host than this machine's are refused, so that no web page can read it by
    way of a name that leads here. ``address`` is ``host:port``, "" while it does not listen.
    """

    def __init__(self, endpoint: Endpoint, pages: Mapping[str, Page]) -> None:
        endpoint.require_loopback()
        self._endpoint = endpoint
        self._pages = pages
        self._server: TCPServer | None = None
        self._thread: threading.Thread | None = None
        self.address = ""

    def start(self) -> None:
        """Listen."""
        wanted = self._endpoint.host_and_port
        if wanted is None:
            return
        host, port = wanted
        try:
            server = _Server((host or "", port), self._pages)
        except OSError as error:
            raise self._endpoint.cannot_listen(error) from error
        self._server = server
        name, number, *_ = server.server_address
        self.address = f"[{name!s}]:{number}" if ":" in str(name) else f"{name!s}:{number}"
        self._thread = start_thread(
            lambda: server.serve_forever(_STOP_POLL_SECONDS), name="kcpctl-debug"
        )

    def close(self) -> None:
        """Stop listening; waits for a request under way. May be called twice."""
        server, self._server, self.address = self._server, None, ""
        if server is not None and self._thread is not None:
            server.shutdown()
            self._thread.join()
            server.server_close()


class _Server(TCPServer):
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], pages: Mapping[str, Page]) -> None:
        self.pages = pages
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""
        _log.debug("Debug request failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _CLIENT_SECONDS

    def do_GET(self) -> None:
        """Answer one request."""
        try:
            self._answer(*self._find())
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - to look at a bug must not take another one
            self._answer(500, f"{type(error).__name__}: {error}\n")

    def _find(self) -> tuple[int, str] | tuple[int, str, str]:
        url = urlsplit(self.path)
        wanted = parse_qs(url.query).get("format", [""])[-1]
        if not wanted and "application/json" in self.headers.get("Accept", ""):
            wanted = "json"
        page = self.server.pages.get(url.path.rstrip("/"))
        if not is_loopback(urlsplit(f"//{self.headers.get('Host', 'localhost')}").hostname or ""):
            return 403, "ask for localhost or for a loopback address\n"
        if page is None:
            return 404, "".join(f"{path}\n" for path in self.server.pages)
        if wanted not in {"", "text", "json"}:
            return 400, "format is text or json\n"
        if wanted == "json":
            return 200, json.dumps(page.data(), indent=1) + "\n", "application/json"
        return 200, page.text()

    def _answer(self, code: int, text: str, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Log nothing."""
