from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from kcpctl.errors import ConfigError, UsageError
from kcpctl.manager import Endpoint
from kcpctl.manager.debug_server import DebugServer

FLAG = "--debug-bind-address"


class Things:
    def data(self) -> object:
        return [{"name": "one"}]

    def text(self) -> str:
        return "NAME\none\n"


class Broken:
    def data(self) -> object:
        raise RuntimeError("a bug")

    def text(self) -> str:
        raise RuntimeError("a bug")


@pytest.fixture
def free() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def address(free: str) -> Iterator[str]:
    server = DebugServer(
        Endpoint(free, FLAG), {"/debug/things": Things(), "/debug/broken": Broken()}
    )
    server.start()
    yield server.address
    server.close()


def get(address: str, path: str, **headers: str) -> tuple[int, str, str]:
    request = urllib.request.Request(f"http://{address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_it_is_refused_where_others_could_reach_it() -> None:
    with pytest.raises(UsageError, match=FLAG):
        DebugServer(Endpoint(":6060", FLAG), {})


def test_a_request_by_another_name_than_this_machine_s_is_refused(address: str) -> None:
    """A web page may have its own name lead to 127.0.0.1, and read what is there."""
    for host in ("evil.example.com", "evil.example.com:6060", "192.0.2.1"):
        assert get(address, "/debug/things", Host=host)[0] == 403
    for host in ("localhost:6060", "[::1]:6060"):
        assert get(address, "/debug/things", Host=host)[0] == 200


def test_a_page_that_fails_is_told_and_hurts_no_other(address: str) -> None:
    assert get(address, "/debug/broken") == (
        500,
        "text/plain; charset=utf-8",
        "RuntimeError: a bug\n",
    )
    assert get(address, "/debug/things")[0] == 200


def test_an_unknown_page_answers_with_those_there_are(address: str) -> None:
    code, _, text = get(address, "/debug/nothing")
    assert (code, text) == (404, "/debug/things\n/debug/broken\n")


def test_an_unknown_format_is_refused(address: str) -> None:
    assert get(address, "/debug/things?format=xml")[0] == 400


def test_text_for_people_and_json_for_programs(address: str) -> None:
    assert get(address, "/debug/things/") == (200, "text/plain; charset=utf-8", "NAME\none\n")
    for path, accept in (("?format=json", "*/*"), ("", "application/json")):
        code, kind, text = get(address, f"/debug/things{path}", Accept=accept)
        assert (code, kind) == (200, "application/json; charset=utf-8")
        assert json.loads(text) == [{"name": "one"}]
    assert get(address, "/debug/things?format=text", Accept="application/json")[2] == "NAME\none\n"


def test_a_busy_port_is_an_error_that_names_port_and_flag(address: str) -> None:
    port = address.partition(":")[2]
    with pytest.raises(ConfigError, match=rf"port {port} is in use.*{FLAG} 0 to turn it off"):
        DebugServer(Endpoint(address, FLAG), {}).start()


def test_it_serves_on_ipv6(free: str) -> None:
    server = DebugServer(
        Endpoint(f"[::1]:{free.partition(':')[2]}", FLAG), {"/debug/things": Things()}
    )
    try:
        server.start()
    except ConfigError:
        pytest.skip("there is no IPv6 here")
    assert get(server.address, "/debug/things")[0] == 200
    server.close()


def test_zero_is_off_and_close_may_be_called_twice(free: str) -> None:
    for at in ("0", free):
        server = DebugServer(Endpoint(at, FLAG), {})
        server.start()
        assert bool(server.address) is (at != "0")
        server.close()
        server.close()
        assert server.address == ""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(free.partition(":")[2])))
