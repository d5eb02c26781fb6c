"""Certificates that are renewed under a running client, over real TLS (AU-07, AU-11, AU-12)."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, ClientConfig, ExecPlugin, load_config
from kcpctl.errors import CertificateInvalid, TransportError
from kcpctl.informers import CachedObject, HandlerFuncs, SharedInformer
from kcpctl.informers.initial import InitialStates
from kcpctl.runtime import Metrics
from kcpctl.testing import FakeClock
from kcpctl.testing.certificates import CertificateAuthority
from kcpctl.testing.scripted import Received, Reply, ScriptedServer, watch_line

MAPS = "/api/v1/configmaps"


def config_map(name: str, version: int) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": name, "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


LISTED = Reply(
    {
        "kind": "ConfigMapList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "10"},
        "items": [{"metadata": config_map("one", 5)["metadata"]}],
    }
)


class Site:
    """A TLS server that wants client certificates, and the files that name its client's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca_file = directory / "ca.crt"
        self.cert_file = directory / "client.crt"
        self.key_file = directory / "client.key"
        self.clock = FakeClock()
        self.metrics = Metrics()
        # Which authority a connection meets is decided when it is made.
        self._now = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server_uses(CertificateAuthority("first CA"))
        front = self._authority.server_context(want_client_certificate=True)
        front.sni_callback = self._choose
        self.server = ScriptedServer(tls=front, host="localhost")
        self.client_uses(self._authority, "first")

    def _choose(self, connection: ssl.SSLObject, _: str, __: ssl.SSLContext) -> None:
        connection.context = self._now

    def server_uses(self, authority: CertificateAuthority) -> None:
        self._authority = authority
        self._now = authority.server_context(want_client_certificate=True)

    def client_uses(self, authority: CertificateAuthority, name: str) -> None:
        """Write the files anew."""
        cert, key = authority.issue(name)
        self.ca_file.write_bytes(authority.pem)
        self.cert_file.write_bytes(cert)
        self.key_file.write_bytes(key)

    def rotate(self) -> None:
        """Renew everything on both sides."""
        second = CertificateAuthority("second CA")
        self.server_uses(second)
        self.client_uses(second, "second")

    @property
    def kubeconfig(self) -> Path:
        cluster = {"server": self.server.url, "certificate-authority": self.ca_file.name}
        user = {"client-certificate": self.cert_file.name, "client-key": self.key_file.name}
        document = {
            "kind": "Config",
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": cluster}],
            "users": [{"name": "x", "user": user}],
        }
        path = self.directory / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    @asynccontextmanager
    async def client(self, config: ClientConfig | None = None) -> AsyncIterator[AsyncClient]:
        config = config or load_config(self.kubeconfig)
        client = AsyncClient.plain(config, clock=self.clock, metrics=self.metrics)
        try:
            yield client
        finally:
            await client.close()

    async def until(self, check: Callable[[], object]) -> None:
        """Let real time pass for the sockets and fake time for the pauses."""
        async with asyncio.timeout(60):
            while not check():
                await asyncio.sleep(0.005)
                self.clock.step(3)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    @property
    def peers(self) -> list[str]:
        return [one.peer for one in self.server.received]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    async with made.server:
        made.server.on("GET", "/readyz", Reply(b"ok"))
        yield made


async def ready(client: AsyncClient) -> bytes:
    return (await client.request("GET", "/readyz")).body


async def test_an_informer_lives_through_new_certificates_without_a_list_au_07(site: Site) -> None:
    """AU-07, AU-11, AU-12: the watch goes on from its version; the old identity is not used."""
    first = watch_line("ADDED", config_map("two", 11))
    half = watch_line("ADDED", config_map("three", 12))
    hang = Reply(chunks=[first, half[:20]], ending="hang")
    watches = [hang, Reply(chunks=[half], ending="hang")]

    def answer(request: Received) -> Reply:
        return watches.pop(0) if "watch" in request.query else LISTED

    site.server.on("GET", MAPS, answer)
    added: list[str] = []

    def note(obj: CachedObject) -> None:
        added.append(obj.meta.name)

    async with site.client() as client:
        informer: SharedInformer[dict[str, Any]] = SharedInformer(
            client,
            CONFIG_MAPS,
            dict,
            clock=site.clock,
            rng=random.Random(1),
            streaming=False,
            initial_states=InitialStates(),
        )
        informer.add_handler(HandlerFuncs(on_add=note))
        running = asyncio.create_task(informer.run())
        await site.until(lambda: added == ["one", "two"])
        site.rotate()
        await site.until(lambda: added == ["one", "two", "three"])
        running.cancel()
        await asyncio.wait({running})
        assert await ready(client) == b"ok"
    requests = [
        (one.peer, "watch" in one.query, one.query.get("resourceVersion"))
        for one in site.server.requests("GET", MAPS)
    ]
    assert requests == [("first", False, "0"), ("first", True, "10"), ("second", True, "11")]
    assert site.peers[-1] == "second"


async def test_calls_under_way_end_in_peace_and_later_ones_use_the_new_certificate(
    site: Site,
) -> None:
    """AU-11: a rotation costs no request."""
    arrived = 0

    def answer(_: Received) -> Reply:
        nonlocal arrived
        arrived += 1
        return Reply(b"ok")

    site.server.on("GET", "/readyz", answer)
    async with site.client() as client:

        async def ask() -> None:
            for _ in range(30):
                assert await ready(client) == b"ok"

        async def step() -> None:
            while arrived < 40:
                await asyncio.sleep(0)
            site.rotate()
            site.clock.step(61)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask())
            group.create_task(step())
        await site.until(lambda: True)
        assert await ready(client) == b"ok"
    assert arrived == 121
    assert site.peers[-1] == "second"
    first_new = site.peers.index("second")
    assert "first" not in site.peers[first_new + 4 :]


async def test_a_server_that_changed_before_our_files_were_looked_at_costs_no_request(
    site: Site,
) -> None:
    """AU-12: what the old authority does not vouch for is reason enough to look at once."""
    async with site.client() as client:
        assert await ready(client) == b"ok"
    async with site.client(load_config(site.kubeconfig)) as client:
        site.rotate()
        assert await ready(client) == b"ok"
        assert site.peers == ["first", "second"]


class BluntServer:
    """A TLS server on a thread: unlike asyncio's it sends its alerts. It answers all with "ok"."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._listener:
            while True:
                plain = self._listener.accept()[0]
                with plain:
                    if plain.recv(1, socket.MSG_PEEK) == b"q":
                        return
                    plain.settimeout(5)
                    self._serve(plain)

    def _serve(self, plain: socket.socket) -> None:
        with self._context.wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False
        ) as secure:
            try:
                secure.do_handshake()
            except ssl.SSLError:
                # A reset, for what was not read, would overtake the alert.
                secure.shutdown(socket.SHUT_WR)
                while socket.socket.recv(secure, 65536):
                    pass
                return
            secure.recv(65536)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def close(self) -> None:
        address = self.url.rpartition(":")[2]
        with socket.create_connection(("127.0.0.1", int(address))) as last:
            last.sendall(b"q")
        self._thread.join()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_that_is_refused_is_looked_for_at_once(
    site: Site, version: ssl.TLSVersion
) -> None:
    """AU-11: the alert may come in place of the answer; nothing was done, so it is sent again."""
    second = CertificateAuthority("second CA")
    context = second.server_context(want_client_certificate=True)
    context.maximum_version = version
    server = BluntServer(context)
    site.ca_file.write_bytes(site.ca_file.read_bytes() + second.pem)
    try:
        config = replace(load_config(site.kubeconfig), server=server.url)
        async with site.client(config) as client:
            with pytest.raises(TransportError, match="does not accept the client certificate"):
                await client.request("POST", "/readyz", retry=False)
            site.client_uses(second, "second")
            assert (await client.request("POST", "/readyz", retry=False)).body == b"ok"
    finally:
        server.close()


async def test_a_refusal_renews_open_watches_at_once_and_time_alone_does_not(site: Site) -> None:
    """AU-07: no watch waits for the minute to be over, and none ends for nothing."""
    site.server.on("GET", MAPS, Reply(chunks=[], ending="hang"))
    async with site.client() as client:

        async def watch() -> list[Any]:
            stream = client.resource(CONFIG_MAPS).watch_raw(resource_version="1")
            async with aclosing(stream):
                return [event async for event in stream]

        watching = asyncio.create_task(watch())
        await site.until(lambda: site.peers == ["first"])
        name = "rest_client_transport_ca_reload_total"
        await site.until(lambda: site.count(name, result="success", reason="unchanged") == 2)
        assert not watching.done()
        site.rotate()
        # Idle connections of the old certificate would still do.
        async with site.client(load_config(site.kubeconfig)) as other:
            assert await ready(other) == b"ok"
        assert await ready(client) == b"ok"
        async with asyncio.timeout(60):
            assert await watching == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"garbage", "ca_parse_error"), (None, "read_error")],
)
async def test_a_ca_file_that_cannot_be_used_keeps_the_old_one_au_12(
    site: Site, content: bytes | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """AU-12: and counts a failure each time, but is logged once."""
    async with site.client() as client:
        assert await ready(client) == b"ok"
        if content is None:
            site.ca_file.unlink()
        else:
            site.ca_file.write_bytes(content)
        name = "rest_client_transport_ca_reload_total"
        await site.until(lambda: site.count(name, result="failure", reason=reason) == 2)
        assert await ready(client) == b"ok"
        assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
            "Kept the old certificates"
        ]
        site.rotate()
        await site.until(lambda: site.count(name, result="success", reason="updated") == 1)
        assert await ready(client) == b"ok"
    assert site.peers == ["first", "first", "second"]


async def test_a_key_that_is_not_the_certificates_yet_keeps_the_old_pair_au_11(site: Site) -> None:
    """AU-11: two files are not written at one moment."""
    name = "rest_client_transport_certificate_reload_total"
    async with site.client() as client:
        assert await ready(client) == b"ok"
        cert, key = site._authority.issue("second")
        site.cert_file.write_bytes(cert)
        await site.until(lambda: site.count(name, result="failure", reason="parse_error") == 1)
        assert await ready(client) == b"ok"
        site.key_file.write_bytes(key)
        await site.until(lambda: site.count(name, result="success", reason="updated") == 1)
        assert await ready(client) == b"ok"
    assert site.peers == ["first", "first", "second"]


async def test_a_plugins_new_certificate_renews_open_watches_au_07(site: Site) -> None:
    """AU-07: also while nobody asks for anything but the watch."""
    version = "client.authentication.k8s.io/v1"
    output = site.directory / "output"

    def plugin_gives(name: str) -> None:
        cert, key = site._authority.issue(name)
        status = {
            "clientCertificateData": cert.decode(),
            "clientKeyData": key.decode(),
            "expirationTimestamp": "2023-11-14T22:13:30Z",
        }
        output.write_text(
            json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
        )

    plugin_gives("first")
    spec = {"apiVersion": version, "command": "cat", "args": [str(output)]}
    config = ClientConfig(
        server=site.server.url, ca=site._authority.pem, exec_plugin=ExecPlugin(spec, {})
    )
    site.server.on("GET", MAPS, Reply(chunks=[], ending="hang"))
    async with site.client(config) as client:

        async def watch() -> list[Any]:
            stream = client.resource(CONFIG_MAPS).watch_raw(resource_version="1")
            async with aclosing(stream):
                return [event async for event in stream]

        watching = asyncio.create_task(watch())
        await site.until(lambda: site.peers == ["first"])
        plugin_gives("second")
        await site.until(watching.done)
        assert watching.result() == []
        assert await ready(client) == b"ok"
    assert site.peers == ["first", "second"]


async def test_in_a_pod_the_authority_is_read_again(site: Site, tmp_path: Path) -> None:
    """AU-12: the ServiceAccount's ca.crt."""
    (tmp_path / "token").write_text("t")
    host, _, port = site.server.url.removeprefix("https://").partition(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "HOME": "/none"}
    config = load_config(environ=environ, service_account=tmp_path)
    other = CertificateAuthority("second CA")
    context = other.server_context()
    async with ScriptedServer(tls=context, host="localhost") as server:
        server.on("GET", "/readyz", Reply(b"ok"))
        moved = {**environ, "KUBERNETES_SERVICE_PORT": str(server.port)}
        config = load_config(environ=moved, service_account=tmp_path)
        async with site.client(config) as client:
            with pytest.raises(CertificateInvalid):
                await ready(client)
            site.ca_file.write_bytes(other.pem)
            assert await ready(client) == b"ok"


async def test_closing_ends_the_looking(site: Site) -> None:
    """AU-11: no task is left."""
    before = asyncio.all_tasks()
    async with site.client() as client:
        assert await ready(client) == b"ok"
        assert len(asyncio.all_tasks() - before) >= 1
        assert any("certificates" in task.get_name() for task in asyncio.all_tasks())
    assert not any("certificates" in task.get_name() for task in asyncio.all_tasks())


async def test_without_files_nothing_looks(site: Site) -> None:
    config = ClientConfig(server=site.server.url, insecure=True)
    async with site.client(config) as client:
        with pytest.raises(TransportError):
            await client.request("GET", "/readyz", retry=False)
        assert not any("certificates" in task.get_name() for task in asyncio.all_tasks())
