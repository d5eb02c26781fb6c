"""The proxy that the fault tests are made with."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from kcpctl.runtime import start_thread
from kcpctl.testing import FaultProxy, eventually


class Echo:
    """A server that sends back what it gets."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [start_thread(self._accept, name="echo")]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(start_thread(lambda c=connection: self._serve(c), name="echo"))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    echo = Echo()
    with FaultProxy(echo.address) as running:
        yield running
    echo.close()


def connect(proxy: FaultProxy) -> socket.socket:
    host, port = proxy.address.split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def talk(connection: socket.socket, text: bytes = b"hello") -> bytes:
    connection.sendall(text)
    return connection.recv(65536)


def test_it_passes_on_and_counts(proxy: FaultProxy) -> None:
    with connect(proxy) as first, connect(proxy) as second:
        assert (talk(first), talk(second)) == (b"hello", b"hello")
        assert (proxy.accepted, proxy.live_connections) == (2, 2)
    eventually(lambda: proxy.live_connections == 0)


def test_a_reset_breaks_what_is_open_and_nothing_else(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        assert talk(connection) == b"hello"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with connect(proxy) as connection:
        assert talk(connection) == b"hello"


def test_it_refuses_and_accepts_again_on_the_same_port(proxy: FaultProxy) -> None:
    address = proxy.address
    with connect(proxy) as connection:
        talk(connection)
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.accept()
    assert proxy.address == address
    with connect(proxy) as connection:
        assert talk(connection) == b"hello"


def test_a_hang_holds_back_old_and_new_connections_until_it_is_over(proxy: FaultProxy) -> None:
    with connect(proxy) as old:
        talk(old)
        proxy.hang()
        with connect(proxy) as new:
            for connection in (old, new):
                connection.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    talk(connection)
                connection.settimeout(5)
            proxy.resume()
            assert (old.recv(10), new.recv(10)) == (b"hello", b"hello")


def test_an_answer_is_cut_in_the_middle(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        talk(connection)
        proxy.cut_after(3)
        assert talk(connection) == b"hel"
        assert connection.recv(10) == b""
    proxy.cut_after(None)
    with connect(proxy) as connection:
        assert talk(connection) == b"hello"


def test_a_delay_holds_each_piece_back(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        talk(connection)
        proxy.delay(0.3)
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            talk(connection)
        connection.settimeout(5)
        assert connection.recv(10) == b"hello"


def test_a_target_that_is_down_resets_the_client(proxy: FaultProxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with (
        FaultProxy(f"127.0.0.1:{port}") as dead,
        pytest.raises(ConnectionResetError),  # while connecting, or just after it
        connect(dead) as connection,
    ):
        connection.recv(1)


def test_close_leaves_no_thread_and_may_be_repeated(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        talk(connection)
        proxy.close()
        proxy.close()
    names = [thread.name for thread in threading.enumerate()]
    assert "kcpctl-fault-proxy" not in names
    with pytest.raises(RuntimeError, match="not started"):
        proxy.hang()


def test_a_kubeconfig_keeps_its_path_and_the_name_in_the_certificate() -> None:
    config = {
        "clusters": [
            {"name": "a", "cluster": {"server": "https://127.0.0.1:6443/clusters/root:demo"}},
            {"name": "b", "cluster": {"server": "https://example.org:6443"}},
        ]
    }
    with FaultProxy("https://127.0.0.1:6443/clusters/root:demo") as proxy:
        first, second = (one["cluster"] for one in proxy.kubeconfig(config)["clusters"])
        assert first == {"server": f"https://{proxy.address}/clusters/root:demo"}
        assert second == {"server": f"https://{proxy.address}", "tls-server-name": "example.org"}
    assert config["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:6443/clusters/root:demo"
    }


def test_a_target_without_a_port_is_refused() -> None:
    with pytest.raises(ValueError, match="host:port"):
        FaultProxy("localhost")
