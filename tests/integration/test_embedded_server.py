"""The embedded server over real sockets: TLS, identities, controllers, start and stop."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sqlite3
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kcpctl.embedded import server as server_module
from kcpctl.embedded.database import Database, DataDirError
from kcpctl.embedded.server import RunningServer, ServerOptions, running_server, serve

Json = dict[str, Any]
PLAIN = ServerOptions(workspaces=False)
TEN_BYTES = ("Content-Type: application/json", "Content-Length: 10")
DEPLOYMENT: Json = {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "w"}},
        "template": {
            "metadata": {"labels": {"app": "w"}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]},
        },
    },
}


def context_of(server: RunningServer, directory: Path, *, admin: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=server.ca_pem.decode())
    if admin:
        certificate, key = directory / "client.crt", directory / "client.key"
        certificate.write_bytes(server.admin.certificate_pem)
        key.write_bytes(server.admin.key_pem)
        context.load_cert_chain(certificate, key)
    return context


class Api:
    """One client of one server."""

    def __init__(self, session: aiohttp.ClientSession, server: RunningServer) -> None:
        self.session = session
        self.server = server

    async def __call__(
        self, method: str, path: str, body: Json | None = None, /, **headers: str
    ) -> tuple[int, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "PATCH":
            sent["Content-Type"] = "application/merge-patch+json"
        async with self.session.request(
            method, self.server.url + path, json=body, headers=sent
        ) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text

    async def until(self, path: str, **wanted: Any) -> Any:
        """Poll an object until fields of its status are as wanted (``code``: the HTTP status)."""
        async with asyncio.timeout(60):
            while True:
                code, body = await self("GET", path)
                seen = {"code": code, **(body.get("status") or {} if code == 200 else {})}
                if all(seen.get(key) == value for key, value in wanted.items()):
                    return body
                await asyncio.sleep(0.02)


@asynccontextmanager
async def client(
    server: RunningServer, directory: Path, *, admin: bool = True
) -> AsyncIterator[Api]:
    connector = aiohttp.TCPConnector(ssl=context_of(server, directory, admin=admin))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Api(session, server)


@pytest.fixture
async def plain() -> AsyncIterator[RunningServer]:
    async with running_server(PLAIN) as server:
        yield server


@pytest.fixture
async def workspaces() -> AsyncIterator[RunningServer]:
    async with running_server(ServerOptions()) as server:
        yield server


@pytest.fixture
async def admin(plain: RunningServer, tmp_path: Path) -> AsyncIterator[Api]:
    async with client(plain, tmp_path) as api:
        yield api


@pytest.fixture
async def anonymous(plain: RunningServer, tmp_path: Path) -> AsyncIterator[Api]:
    async with client(plain, tmp_path, admin=False) as api:
        yield api


# -- who asks -----------------------------------------------------------------------------


async def test_the_server_is_trusted_by_its_own_ca_only(
    plain: RunningServer, tmp_path: Path
) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(plain.url)


async def test_a_client_certificate_of_another_authority_is_refused(
    plain: RunningServer, tmp_path: Path
) -> None:
    async with running_server(PLAIN) as other:
        mixed = RunningServer(plain.url, plain.port, plain.ca_pem, other.admin, plain.registry)
        async with client(mixed, tmp_path) as api:
            with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
                await api("GET", "/version")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/api/v1/namespaces/default/configmaps",
            (
                'configmaps is forbidden: User "system:anonymous" cannot list resource '
                '"configmaps" in API group "" in the namespace "default"'
            ),
        ),
        ("/api", 'forbidden: User "system:anonymous" cannot get path "/api"'),
    ],
)
async def test_without_credentials_one_is_anonymous_and_may_nothing(
    anonymous: Api, path: str, message: str
) -> None:
    code, body = await anonymous("GET", path)
    assert (code, body["reason"], body["message"]) == (403, "Forbidden", message)


async def test_health_and_version_are_open_but_not_to_a_wrong_token(anonymous: Api) -> None:
    for path in ("/healthz", "/readyz", "/livez", "/version"):
        assert (await anonymous("GET", path))[0] == 200
        code, body = await anonymous("GET", path, Authorization="Bearer garbage")
        assert (code, body["message"]) == (401, "Unauthorized")


async def test_a_token_gives_the_rights_of_its_service_account_and_no_more(
    admin: Api, anonymous: Api
) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await admin("POST", accounts, {"metadata": {"name": "bot"}})
    code, answer = await admin("POST", f"{accounts}/bot/token", {"spec": {}})
    assert code == 201
    bearer = {"Authorization": f"Bearer {answer['status']['token']}"}
    secrets = "/api/v1/namespaces/default/secrets"
    assert (await anonymous("GET", secrets, **bearer))[0] == 403
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]
    await admin("POST", f"{rbac}/roles", {"metadata": {"name": "r"}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "bot", "namespace": "default"}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    binding = {"metadata": {"name": "b"}, "roleRef": ref, "subjects": [subject]}
    await admin("POST", f"{rbac}/rolebindings", binding)
    assert (await anonymous("GET", secrets, **bearer))[0] == 200
    assert (await anonymous("DELETE", secrets, **bearer))[0] == 403
    await admin("DELETE", f"{accounts}/bot")
    assert (await anonymous("GET", secrets, **bearer))[0] == 401


async def test_nobody_gives_away_rights_that_they_do_not_have(admin: Api) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rules = [
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["clusterroles"],
            "verbs": ["create", "patch"],
        }
    ]
    await admin("POST", f"{rbac}/clusterroles", {"metadata": {"name": "mk"}, "rules": rules})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "mk"}
    subject = {"kind": "User", "name": "jim", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "mk"}, "roleRef": ref, "subjects": [subject]}
    await admin("POST", f"{rbac}/clusterrolebindings", binding)
    big = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    role = {"metadata": {"name": "big"}, "rules": big}
    as_jim = {"Impersonate_User": "jim"}
    code, body = await admin("POST", f"{rbac}/clusterroles", role, **as_jim)
    assert code == 403
    assert "attempting to grant RBAC permissions not currently held" in body["message"]
    code, body = await admin("PATCH", f"{rbac}/clusterroles/mk", {"rules": big}, **as_jim)
    assert code == 403
    assert (await admin("POST", f"{rbac}/clusterroles", role))[0] == 201


async def test_only_masters_may_ask_all_logical_clusters(
    workspaces: RunningServer, tmp_path: Path
) -> None:
    async with client(workspaces, tmp_path) as api:
        path = "/clusters/*/api/v1/configmaps"
        code, body = await api("GET", path)
        assert code == 200
        assert {entry["metadata"]["annotations"]["kcp.io/cluster"] for entry in body["items"]} == {
            "root"
        }
        assert (await api("GET", path, Impersonate_User="jane"))[0] == 403


# -- controllers --------------------------------------------------------------------------


async def test_a_namespace_is_filled_and_emptied(admin: Api) -> None:
    await admin("POST", "/api/v1/namespaces", {"metadata": {"name": "t"}})
    root_ca = await admin.until("/api/v1/namespaces/t/configmaps/kube-root-ca.crt", code=200)
    assert root_ca["data"]["ca.crt"].encode() == admin.server.ca_pem
    await admin("DELETE", "/api/v1/namespaces/t")
    await admin.until("/api/v1/namespaces/t", code=404)


async def test_every_new_workspace_has_its_roles_and_namespaces(
    workspaces: RunningServer, tmp_path: Path
) -> None:
    async with client(workspaces, tmp_path) as api:
        body = {"metadata": {"name": "demo"}}
        path = "/clusters/root/apis/tenancy.kcp.io/v1alpha1/workspaces"
        assert (await api("POST", path, body))[0] == 201
        demo = "/clusters/root:demo"
        await api.until(f"{demo}/api/v1/namespaces/default/serviceaccounts/default", code=200)
        rbac = f"{demo}/apis/rbac.authorization.k8s.io/v1"
        assert (await api("GET", f"{rbac}/clusterroles/cluster-admin"))[0] == 200
        assert (await api("GET", f"{demo}/version", Impersonate_User="jane"))[0] == 200


async def test_with_a_kubelet_deployments_run(tmp_path: Path) -> None:
    options = ServerOptions(workspaces=False, kubelet=True)
    apps = "/apis/apps/v1/namespaces/default/deployments"
    async with running_server(options) as server, client(server, tmp_path) as api:
        assert (await api("POST", apps, DEPLOYMENT))[0] == 201
        await api.until(f"{apps}/web", availableReplicas=2, observedGeneration=1)
        await api("PATCH", f"{apps}/web", {"spec": {"replicas": 3}})
        await api.until(f"{apps}/web", availableReplicas=3, observedGeneration=2)
        await api("DELETE", f"{apps}/web?propagationPolicy=Foreground")
        await api.until(f"{apps}/web", code=404)
        _, pods = await api("GET", "/api/v1/namespaces/default/pods")
        assert pods["items"] == []


async def test_a_kubelet_wants_an_ordinary_cluster() -> None:
    with pytest.raises(ValueError, match="a workspace has no Nodes"):
        ServerOptions(workspaces=True, kubelet=True)


# -- start and stop -----------------------------------------------------------------------


async def test_a_port_in_use_is_an_error_and_leaves_nothing_behind(plain: RunningServer) -> None:
    options = ServerOptions(workspaces=False, port=plain.port)
    with pytest.raises(OSError, match="address already in use"):
        async with running_server(options):
            raise AssertionError("unreachable")


async def test_a_stop_ends_watches_cleanly_and_leaves_no_task(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    started: asyncio.Future[RunningServer] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    serving = asyncio.ensure_future(serve(PLAIN, ready=started.set_result, stop=stop))
    server = await started
    async with client(server, tmp_path) as api:
        url = f"{server.url}/api/v1/configmaps?watch=true"
        async with api.session.get(url) as watch:
            assert (await watch.content.readline()).startswith(b'{"type":"ADDED"')
            stop.set()
            async with asyncio.timeout(20):
                await watch.content.read()  # an orderly end: no ClientPayloadError
                await serving
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - before == set()


async def test_a_server_with_kept_keys_is_trusted_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    options = ServerOptions(workspaces=False, state_dir=state)
    async with running_server(options) as first, client(first, tmp_path) as api:
        assert (await api("GET", "/api/v1/namespaces"))[0] == 200
    again = ServerOptions(workspaces=False, state_dir=state, port=first.port)
    async with running_server(again) as second:
        assert second.ca_pem == first.ca_pem
        async with client(first, tmp_path) as api:  # the kubeconfig of before
            assert (await api("GET", "/api/v1/namespaces"))[0] == 200


async def test_a_state_directory_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.key").write_text("garbage")
    with pytest.raises(ValueError, match=r"ca\.key does not hold a P-256 key"):
        async with running_server(ServerOptions(workspaces=False, state_dir=tmp_path)):
            raise AssertionError("unreachable")


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names that are not in the database yet; nothing gets there but by what is tested."""
    names: set[str] = set()
    record, write = Database.record, Database._write

    def recording(database: Database, resource: str, key: Any, *rest: Any) -> None:
        names.add(key.name)
        record(database, resource, key, *rest)

    def writing(database: Database) -> None:
        write(database)
        names.clear()

    monkeypatch.setattr(Database, "record", recording)
    monkeypatch.setattr(Database, "_write", writing)
    monkeypatch.setattr(Database, "_flush_soon", lambda self: None)
    return names


async def test_an_answer_waits_for_the_database(tmp_path: Path, unsaved: set[str]) -> None:
    options = ServerOptions(workspaces=False, state_dir=tmp_path / "data", keeps_objects=True)
    async with running_server(options) as server, client(server, tmp_path) as api:
        path = "/api/v1/namespaces/default/configmaps"
        assert (await api("POST", path, {"metadata": {"name": "a"}}))[0] == 201
        assert "a" not in unsaved
        maps = server.registry.info("root", "", "v1", "configmaps")
        server.registry.create(maps, "root", "default", {"metadata": {"name": "b"}})
        assert "b" in unsaved
        assert (await api("GET", f"{path}/absent"))[0] == 404  # a refusal tells of the state too
        assert "b" not in unsaved


async def test_a_watch_waits_for_the_database(tmp_path: Path, unsaved: set[str]) -> None:
    options = ServerOptions(workspaces=False, state_dir=tmp_path / "data", keeps_objects=True)
    async with running_server(options) as server, client(server, tmp_path) as api:
        _, found = await api("GET", "/api/v1/configmaps")
        version = found["metadata"]["resourceVersion"]
        url = f"{server.url}/api/v1/configmaps?watch=true&resourceVersion={version}"
        async with api.session.get(url) as watch:
            maps = server.registry.info("root", "", "v1", "configmaps")
            server.registry.create(maps, "root", "default", {"metadata": {"name": "b"}})
            assert "b" in unsaved
            while b'"name":"b"' not in await watch.content.readline():
                pass
            assert "b" not in unsaved


async def test_a_server_whose_disk_fails_refuses_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(database: Database) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    options = ServerOptions(workspaces=False, state_dir=tmp_path / "data", keeps_objects=True)
    started: asyncio.Future[RunningServer] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    serving = asyncio.ensure_future(serve(options, ready=started.set_result, stop=stop))
    server = await started
    async with client(server, tmp_path) as api:
        assert (await api("GET", "/api/v1/namespaces"))[0] == 200
        monkeypatch.setattr(Database, "_write", full)
        path = "/api/v1/namespaces/default/configmaps"
        code, status = await api("POST", path, {"metadata": {"name": "a"}})
        assert code == 500
        assert "objects.db cannot be written: database or disk is full" in status["message"]
    with pytest.raises(DataDirError, match=r"objects\.db cannot be written"):
        await serving


async def test_kept_objects_are_served_at_the_same_port_if_it_is_free(tmp_path: Path) -> None:
    options = ServerOptions(state_dir=tmp_path / "data", keeps_objects=True)
    async with running_server(options) as first:
        pass
    async with running_server(options) as second:
        assert second.port == first.port
    with socket.create_server(("127.0.0.1", first.port)):
        async with running_server(options) as third, client(third, tmp_path) as api:
            assert third.port != first.port
            path = "/clusters/root/apis/core.kcp.io/v1alpha1/logicalclusters"
            assert (await api("GET", path))[0] == 200


async def test_the_controllers_know_the_objects_of_before_a_restart(tmp_path: Path) -> None:
    options = ServerOptions(workspaces=False, state_dir=tmp_path / "data", keeps_objects=True)
    path = "/api/v1/namespaces/default/configmaps"
    async with running_server(options) as server, client(server, tmp_path) as api:
        _, owner = await api("POST", path, {"metadata": {"name": "owner"}})
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner"}
        references = [{**reference, "uid": owner["metadata"]["uid"]}]
        await api("POST", path, {"metadata": {"name": "owned", "ownerReferences": references}})
    async with running_server(options) as server, client(server, tmp_path) as api:
        assert (await api("GET", f"{path}/owned"))[0] == 200
        await api("DELETE", f"{path}/owner")
        await api.until(f"{path}/owned", code=404)


async def test_deployments_go_on_after_a_restart(tmp_path: Path) -> None:
    options = ServerOptions(
        workspaces=False, kubelet=True, state_dir=tmp_path / "data", keeps_objects=True
    )
    path = "/apis/apps/v1/namespaces/default/deployments"
    async with running_server(options) as server, client(server, tmp_path) as api:
        await api("POST", path, DEPLOYMENT)
        await api.until(f"{path}/web", availableReplicas=2)
        _, pods = await api("GET", "/api/v1/pods")
    names = {pod["metadata"]["name"] for pod in pods["items"]}
    async with running_server(options) as server, client(server, tmp_path) as api:
        _, pods = await api("GET", "/api/v1/pods")
        assert {pod["metadata"]["name"] for pod in pods["items"]} == names
        await api("PATCH", f"{path}/web", {"spec": {"replicas": 3}})
        await api.until(f"{path}/web", availableReplicas=3)
        await api("DELETE", f"{path}/web")
        await api.until(f"/api/v1/namespaces/default/pods/{min(names)}", code=404)


async def test_the_kubeconfig_has_a_context_for_every_workspace(
    workspaces: RunningServer, plain: RunningServer
) -> None:
    config = workspaces.admin_kubeconfig("root:demo", "root")
    assert config["current-context"] == "root:demo"
    servers = {entry["name"]: entry["cluster"]["server"] for entry in config["clusters"]}
    assert servers == {
        "root:demo": f"{workspaces.url}/clusters/root:demo",
        "root": f"{workspaces.url}/clusters/root",
    }
    one = plain.admin_kubeconfig("east")
    assert one["clusters"][0]["cluster"]["server"] == plain.url
    ca = base64.b64decode(one["clusters"][0]["cluster"]["certificate-authority-data"])
    assert ca == plain.ca_pem


async def test_tls_private_keys_do_not_stay_on_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with running_server(PLAIN):
        assert os.listdir(tmp_path) == []


async def test_who_sends_half_a_body_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_SHUTDOWN_SECONDS", 0.1)
    lines = ("POST /api/v1/namespaces/default/configmaps HTTP/1.1", "Host: a", *TEN_BYTES, "", "{")
    async with asyncio.timeout(30):
        async with running_server(PLAIN) as server:
            trust = context_of(server, tmp_path, admin=True)
            _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trust)
            writer.write("\r\n".join(lines).encode())
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.close()
