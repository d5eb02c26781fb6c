from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from kcpctl.errors import ConfigError, UsageError
from kcpctl.manager import Endpoint
from kcpctl.manager.endpoint import HttpServer

FLAG = "--health-probe-bind-address"


@pytest.fixture
def busy() -> Iterator[int]:
    """A port of 127.0.0.1 that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    "address", ["", "nonsense", "host:", ":http", "1.2.3.4:99999", ":-1", ":²"]
)
def test_an_address_that_is_none_is_a_usage_error_that_names_the_flag(address: str) -> None:
    with pytest.raises(UsageError, match=FLAG):
        _ = Endpoint(address, FLAG).host_and_port


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("0", None),
        (":0", None),
        (":8081", (None, 8081)),
        ("8081", (None, 8081)),
        ("127.0.0.1:8081", ("127.0.0.1", 8081)),
        ("[::1]:8081", ("::1", 8081)),
        (" localhost:1 ", ("localhost", 1)),
    ],
)
def test_addresses_are_host_and_port(address: str, parsed: tuple[str | None, int] | None) -> None:
    assert Endpoint(address, FLAG).host_and_port == parsed


async def test_a_busy_port_is_an_error_that_names_port_and_flag(busy: int) -> None:
    """Decision 18."""
    server = HttpServer(Endpoint(f"127.0.0.1:{busy}", FLAG), {})
    with pytest.raises(ConfigError, match=rf"port {busy} is in use.*{FLAG} 0 to turn it off"):
        await server.start()
    assert server.address == ""


async def test_a_busy_port_is_replaced_where_that_is_allowed(busy: int) -> None:
    """Decision 18: with --embedded, for what was not asked for explicitly."""
    server = HttpServer(Endpoint(f"127.0.0.1:{busy}", FLAG, allow_free_port=True), {})
    await server.start()
    host, _, port = server.address.rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) not in {0, busy}
    await server.close()
    assert server.address == ""


async def test_a_foreign_address_is_an_error_in_one_sentence() -> None:
    server = HttpServer(Endpoint("192.0.2.1:8081", FLAG, allow_free_port=True), {})
    with pytest.raises(ConfigError, match=r"cannot listen on '192\.0\.2\.1:8081'"):
        await server.start()


@pytest.mark.parametrize(
    "address", [":6060", "6060", "0.0.0.0:6060", "192.0.2.1:6060", "[::]:6060", "example.com:6060"]
)
def test_what_others_can_reach_is_refused_where_it_must_be_loopback(address: str) -> None:
    with pytest.raises(UsageError, match=rf"{FLAG}.*write 127\.0\.0\.1:6060"):
        Endpoint(address, FLAG).require_loopback()


@pytest.mark.parametrize("address", ["127.0.0.1:6060", "[::1]:6060", "localhost:6060", "0"])
def test_loopback_and_off_are_loopback(address: str) -> None:
    Endpoint(address, FLAG).require_loopback()


async def test_zero_is_off() -> None:
    server = HttpServer(Endpoint("0", FLAG), {})
    await server.start()
    assert server.address == ""
    await server.close()
