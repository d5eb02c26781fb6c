"""The embedded server's HTTP layer over a real socket, with a simple authenticator."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kcpctl.embedded.http.context import ServerContext
from kcpctl.embedded.http.server import ApiServer
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.status import StatusError, unauthorized
from kcpctl.embedded.user import ANONYMOUS, Attributes, Decision, UserInfo

Json = dict[str, Any]
ADMIN = UserInfo("admin", groups=("system:masters",))
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
MAPS = "/api/v1/namespaces/default/configmaps"


class Authenticator:
    def authenticate(
        self,
        peer_cert: bytes | None,
        authorization: str | None,
        headers: Mapping[str, str],
        cluster: str | None,
    ) -> UserInfo:
        if authorization is None:
            return ANONYMOUS
        if authorization == "Bearer admin":
            return ADMIN
        if authorization.startswith("Bearer jane"):
            return UserInfo("jane")
        raise unauthorized()

    def token_cluster(self, authorization: str | None) -> str | None:
        _, _, cluster = (authorization or "").partition("@")
        return cluster or None


class Authorizer:
    def authorize(self, user: UserInfo, attributes: Attributes) -> Decision:
        public = attributes.path in ("/healthz", "/livez", "/readyz", "/version")
        return Decision(user is ADMIN or public or user.username == "jane")


class Virtual:
    def create(
        self, info: ResourceInfo, cluster: str, namespace: str, body: Json, user: UserInfo
    ) -> Json:
        return {**body, "kind": info.kind, "metadata": {}, "status": {"user": user.username}}

    def create_token(
        self, cluster: str, namespace: str, service_account: Json, body: Json, user: UserInfo
    ) -> Json:
        return {**body, "metadata": {}, "status": {"token": service_account["metadata"]["name"]}}


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str
    warnings: list[str]

    @property
    def json(self) -> Json:
        value: Json = json.loads(self.text)
        return value


class Server:
    def __init__(self, context: ServerContext, url: str, session: aiohttp.ClientSession) -> None:
        self.context = context
        self.registry = context.registry
        self.session = session
        self.url = url

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "admin",
        **headers: str,
    ) -> Reply:
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = None
        if body is not None:
            data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
            sent.setdefault("Content-Type", "application/json")
        request = self.session.request(method, self.url + path, data=data, headers=sent)
        async with request as response:
            warnings = response.headers.getall("Warning", [])
            text = (await response.read()).decode(errors="replace")
            return Reply(response.status, response.headers, text, warnings)


@asynccontextmanager
async def serving(*, workspaces: bool) -> AsyncIterator[Server]:
    registry = Registry(workspaces=workspaces, rng=random.Random(1))
    context = ServerContext(registry, Authenticator(), Authorizer(), Virtual())
    api = ApiServer(context, rng=random.Random(1))
    runner = web.ServerRunner(api.web_server(), handle_signals=False, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        yield Server(context, f"http://127.0.0.1:{port}", session)
    await api.close()
    await runner.cleanup()


@pytest.fixture
async def plain() -> AsyncIterator[Server]:
    async with serving(workspaces=False) as server:
        yield server


@pytest.fixture
async def workspaces() -> AsyncIterator[Server]:
    async with serving(workspaces=True) as server:
        yield server


def config_map(name: str, **fields: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **fields}


class TestObjects:
    async def test_an_object_lives_through_all_verbs(self, plain: Server) -> None:
        made = await plain.call("POST", MAPS, config_map("a", data={"k": "v"}))
        assert made.status == 201
        assert (await plain.call("GET", f"{MAPS}/a")).json == made.json
        merge = {"Content_Type": "application/merge-patch+json"}
        patched = await plain.call("PATCH", f"{MAPS}/a", {"data": {"k": "w"}}, **merge)
        assert patched.json["data"] == {"k": "w"}
        put = await plain.call("PUT", f"{MAPS}/a", {**patched.json, "data": {"k": "x"}})
        assert (put.status, put.json["data"]) == (200, {"k": "x"})
        gone = await plain.call("DELETE", f"{MAPS}/a")
        assert gone.json["status"] == "Success"
        assert (await plain.call("GET", f"{MAPS}/a")).status == 404

    async def test_the_user_agent_is_the_field_manager(self, plain: Server) -> None:
        made = await plain.call(
            "POST", MAPS, config_map("a", data={"k": "v"}), User_Agent="me/1.0 x"
        )
        assert made.json["metadata"]["managedFields"][0]["manager"] == "me"

    async def test_yaml_is_accepted_and_given(self, plain: Server) -> None:
        body = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n"
        made = await plain.call("POST", MAPS, body, Content_Type="application/yaml")
        assert made.status == 201
        shown = await plain.call("GET", f"{MAPS}/a", Accept="application/yaml")
        assert shown.headers["Content-Type"] == "application/yaml"
        assert "kind: ConfigMap\n" in shown.text

    async def test_lists_of_built_in_kinds_have_bare_items(self, plain: Server) -> None:
        await plain.call("POST", MAPS, config_map("a"))
        found = (await plain.call("GET", MAPS)).json
        assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
        assert "kind" not in found["items"][0]
        assert "continue" not in found["metadata"]

    async def test_tables(self, plain: Server) -> None:
        await plain.call("POST", MAPS, config_map("a", data={"k": "v"}))
        shown = (await plain.call("GET", MAPS, Accept=TABLE)).json
        assert shown["kind"] == "Table"
        assert [column["name"] for column in shown["columnDefinitions"]] == ["Name", "Data", "Age"]
        assert shown["rows"][0]["cells"][:2] == ["a", 1]
        assert shown["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
        bare = (await plain.call("GET", f"{MAPS}?includeObject=None", Accept=TABLE)).json
        assert bare["rows"][0]["object"] is None

    async def test_metadata_only(self, plain: Server) -> None:
        await plain.call("POST", MAPS, config_map("a", data={"k": "v"}))
        one = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
        many = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
        assert "data" not in (await plain.call("GET", f"{MAPS}/a", Accept=one)).json
        listed = (await plain.call("GET", MAPS, Accept=many)).json
        assert listed["kind"] == "PartialObjectMetadataList"
        assert "data" not in listed["items"][0]
        assert (await plain.call("GET", MAPS, Accept=one)).status == 406

    async def test_deletecollection_deletes_what_the_selector_matches(self, plain: Server) -> None:
        for name in ("a", "b"):
            body = config_map(name)
            body["metadata"]["labels"] = {"name": name}
            await plain.call("POST", MAPS, body)
        deleted = await plain.call("DELETE", f"{MAPS}?labelSelector=name=a")
        assert [one["metadata"]["name"] for one in deleted.json["items"]] == ["a"]
        assert [
            one["metadata"]["name"] for one in (await plain.call("GET", MAPS)).json["items"]
        ] == ["b"]

    async def test_deletion_options_come_in_the_body_or_the_query(self, plain: Server) -> None:
        await plain.call("POST", MAPS, config_map("a"))
        options = {"preconditions": {"uid": "x"}}
        assert (await plain.call("DELETE", f"{MAPS}/a", options)).status == 409
        held = await plain.call("DELETE", f"{MAPS}/a?propagationPolicy=Foreground")
        assert held.json["metadata"]["finalizers"] == ["foregroundDeletion"]

    async def test_unknown_fields_are_warned_about(self, plain: Server) -> None:
        made = await plain.call("POST", MAPS, config_map("a", bogus=1))
        assert made.warnings == ['299 - "unknown field \\"bogus\\""']

    async def test_unknown_fields_are_warned_about_when_something_else_is_wrong(
        self, plain: Server
    ) -> None:
        made = await plain.call("POST", MAPS, config_map("Not A Name", bogus=1))
        assert made.status == 422
        assert made.warnings == ['299 - "unknown field \\"bogus\\""']

    async def test_scale(self, plain: Server) -> None:
        path = "/apis/apps/v1/namespaces/default/deployments"
        labels = {"app": "w"}
        pod = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }
        spec = {"selector": {"matchLabels": labels}, "template": pod}
        assert (
            await plain.call("POST", path, {"metadata": {"name": "w"}, "spec": spec})
        ).status == 201
        scale = (await plain.call("GET", f"{path}/w/scale")).json
        assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 1})
        scale["spec"]["replicas"] = 3
        assert (await plain.call("PUT", f"{path}/w/scale", scale)).json["spec"] == {"replicas": 3}
        merge = {"Content_Type": "application/merge-patch+json"}
        body = {"spec": {"replicas": -1}}
        assert (await plain.call("PATCH", f"{path}/w/scale", body, **merge)).status == 422

    async def test_reviews_and_tokens_are_answered_by_the_security_part(
        self, plain: Server
    ) -> None:
        review = await plain.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
        assert (review.status, review.json["status"]) == (201, {"user": "admin"})
        account = {"metadata": {"name": "bot"}}
        path = "/api/v1/namespaces/default/serviceaccounts"
        await plain.call("POST", path, account)
        token = await plain.call("POST", f"{path}/bot/token", {"spec": {}})
        assert (token.status, token.json["status"]) == (201, {"token": "bot"})

    async def test_binding_and_eviction(self, plain: Server) -> None:
        path = "/api/v1/namespaces/default/pods"
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        await plain.call("POST", path, pod)
        binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
        assert (await plain.call("POST", f"{path}/p/binding", binding)).status == 201
        assert (await plain.call("GET", f"{path}/p")).json["spec"]["nodeName"] == "n"
        assert (await plain.call("POST", f"{path}/p/binding", binding)).status == 409
        eviction = {"metadata": {"name": "p"}}
        assert (await plain.call("POST", f"{path}/p/eviction", eviction)).status == 201


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/nosuch", 404),
            ("GET", "/api/v1/nosuch", 404),
            ("GET", "/apis/apps/v9/deployments", 404),
            ("GET", f"{MAPS}/a/status", 404),
            ("GET", "/api/v1//configmaps", 404),
            ("HEAD", f"{MAPS}/a", 405),
            ("OPTIONS", MAPS, 405),
            ("PUT", MAPS, 405),
            ("PATCH", MAPS, 405),
            ("POST", f"{MAPS}/a", 405),
            ("POST", "/api/v1/configmaps", 405),
            ("DELETE", "/api/v1/namespaces", 405),
            ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405),
        ],
    )
    async def test_what_is_not_served(
        self, plain: Server, method: str, path: str, status: int
    ) -> None:
        headers = {"Content_Type": "application/merge-patch+json"}
        body: Json | None = {} if method in ("PUT", "PATCH", "POST") else None
        assert (await plain.call(method, path, body, **headers)).status == status

    async def test_unknown_groups_are_plain_text(self, plain: Server) -> None:
        reply = await plain.call("GET", "/apis/nosuch/v1/things")
        assert (reply.status, reply.text) == (404, "404 page not found\n")
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"

    async def test_anonymous_is_forbidden_and_wrong_credentials_are_401(
        self, plain: Server
    ) -> None:
        denied = await plain.call("GET", MAPS, token=None)
        assert denied.status == 403
        assert denied.json["message"].startswith(
            'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps"'
        )
        wrong = await plain.call("GET", "/healthz", token="wrong")
        assert (wrong.status, wrong.json["reason"]) == (401, "Unauthorized")
        assert (await plain.call("GET", "/healthz", token=None)).text == "ok"

    async def test_bodies_above_three_mebibytes_are_413(self, plain: Server) -> None:
        body = config_map("a", data={"x": "y" * 3_200_000})
        reply = await plain.call("POST", MAPS, body)
        assert reply.status == 413
        assert reply.json["message"] == "Request entity too large: limit is 3145728"

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (b"{bad", "couldn't get version/kind; json parse error: "),
            (b"", "unexpected end of JSON input (<empty>)"),
            (b"[]", "cannot unmarshal array into Go value of type struct"),
            (b'{"kind":"Secret","apiVersion":"v1"}', "converting (v1.Secret) to (core.ConfigMap)"),
            (b'{"kind":"ConfigMap","apiVersion":"v2"}', 'no kind "ConfigMap" is registered'),
            (b'{"metadata":"x"}', "json: cannot unmarshal string into Go struct field"),
        ],
    )
    async def test_malformed_bodies_are_400(self, plain: Server, body: bytes, text: str) -> None:
        reply = await plain.call("POST", MAPS, body)
        assert reply.status == 400
        assert text in reply.json["message"]

    async def test_other_content_types_are_415(self, plain: Server) -> None:
        reply = await plain.call("POST", MAPS, b"{}", Content_Type="text/plain")
        assert reply.status == 415
        reply = await plain.call("PATCH", f"{MAPS}/a", b"{}", Content_Type="application/json")
        assert reply.status == 415

    async def test_bugs_become_a_500_and_a_log_line(
        self, plain: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fails(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError("boom")

        monkeypatch.setattr(plain.registry.writer, "create", fails)
        reply = await plain.call("POST", MAPS, config_map("a"))
        assert (reply.status, reply.json["message"]) == (500, "RuntimeError: boom")
        assert "A request failed" in caplog.text

    async def test_admission_refuses(self, plain: Server) -> None:
        def no(user: UserInfo, info: ResourceInfo, _cluster: str, namespace: str, *_: Any) -> None:
            raise StatusError(403, "Forbidden", f"{user.username} {info.plural} {namespace}")

        plain.context.admission = no
        reply = await plain.call("POST", MAPS, config_map("a"))
        assert (reply.status, reply.json["message"]) == (403, "admin configmaps default")

    async def test_apply_needs_a_manager(self, plain: Server) -> None:
        apply = {"Content_Type": "application/apply-patch+yaml"}
        reply = await plain.call("PATCH", f"{MAPS}/a", config_map("a"), **apply)
        assert (reply.status, reply.json["reason"]) == (422, "Invalid")
        path = f"{MAPS}/a?fieldManager=me"
        assert (await plain.call("PATCH", path, config_map("a"), **apply)).status == 201


class TestPaths:
    async def test_health(self, plain: Server) -> None:
        assert (await plain.call("GET", "/readyz")).text == "ok"
        verbose = (await plain.call("GET", "/livez?verbose&exclude=ping")).text
        assert verbose.startswith("[+]ping excluded: ok\n")
        assert verbose.endswith("livez check passed\n")
        assert (await plain.call("GET", "/livez/ping")).text == "ok"
        assert (await plain.call("GET", "/livez/nosuch")).status == 404

    async def test_the_version_tells_workspaces_apart(
        self, plain: Server, workspaces: Server
    ) -> None:
        assert (await plain.call("GET", "/version")).json["gitVersion"] == "v1.36.3"
        assert "+kcp" in (await workspaces.call("GET", "/version")).json["gitVersion"]

    async def test_discovery(self, plain: Server) -> None:
        assert (await plain.call("GET", "/api")).json["kind"] == "APIVersions"
        assert (await plain.call("GET", "/apis/")).json["kind"] == "APIGroupList"
        assert (await plain.call("GET", "/apis/apps")).json["name"] == "apps"
        listed = (await plain.call("GET", "/apis/apps/v1")).json
        assert "deployments/scale" in {one["name"] for one in listed["resources"]}
        assert (await plain.call("GET", "/apis/apps/v9")).headers[
            "Content-Type"
        ] == "application/json"

    async def test_aggregated_discovery_is_given_in_v2_only(self, plain: Server) -> None:
        v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        reply = await plain.call("GET", "/apis", Accept=f"{v2},application/json")
        assert reply.headers["Content-Type"] == v2
        assert reply.json["kind"] == "APIGroupDiscoveryList"
        beta = v2.replace("v=v2", "v=v2beta1")
        assert (await plain.call("GET", "/apis", Accept=beta)).status == 406

    async def test_kubectl_finds_a_document_to_validate_lists_with(self, plain: Server) -> None:
        proto = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
        reply = await plain.call("GET", "/openapi/v2", Accept=proto)
        # The answer spells it without the @, which is no media type.
        answered = (reply.status, reply.headers["Content-Type"])
        assert answered == (200, proto.replace("@", "."))
        assert "io.k8s.api.core.v1.ConfigMap" in reply.text

    async def test_openapi_index(self, plain: Server) -> None:
        reply = await plain.call("GET", "/openapi/v3")
        assert "apis/apps/v1" in reply.json["paths"]
        assert (await plain.call("GET", "/openapi/v3/apis/nosuch/v1")).status == 404


class TestWatches:
    async def test_a_watch_streams_lines(self, plain: Server) -> None:
        await plain.call("POST", MAPS, config_map("a"))
        path = f"{plain.url}{MAPS}?watch=1"
        headers = {"Authorization": "Bearer admin"}
        async with plain.session.get(path, headers=headers) as response:
            assert response.headers["Content-Type"] == "application/json"
            first = json.loads(await response.content.readline())
            await plain.call("POST", MAPS, config_map("b"))
            second = json.loads(await response.content.readline())
        assert [one["object"]["metadata"]["name"] for one in (first, second)] == ["a", "b"]

    async def test_a_client_that_goes_away_leaves_nothing(self, plain: Server) -> None:
        headers = {"Authorization": "Bearer admin"}
        async with plain.session.get(f"{plain.url}{MAPS}?watch=1", headers=headers) as response:
            assert response.status == 200
            collection = plain.registry.store._collection("configmaps")
            assert collection.cursors
        for _ in range(200):
            if not collection.cursors:
                break
            await asyncio.sleep(0.01)
        assert not collection.cursors

    async def test_closing_the_server_ends_the_watches(self) -> None:
        async with serving(workspaces=False) as server:
            headers = {"Authorization": "Bearer admin"}
            response = await server.session.get(f"{server.url}{MAPS}?watch=1", headers=headers)
            server.registry.store.wake_all()
            assert await asyncio.wait_for(response.content.read(), 30) == b""


class TestWorkspaces:
    async def make(self, server: Server, name: str = "demo") -> str:
        path = "/clusters/root/apis/tenancy.kcp.io/v1alpha1/workspaces"
        assert (await server.call("POST", path, {"metadata": {"name": name}})).status == 201
        cluster: str = (await server.call("GET", f"{path}/{name}")).json["spec"]["cluster"]
        return cluster

    async def test_clusters_are_addressed_by_path_and_by_name(self, workspaces: Server) -> None:
        cluster = await self.make(workspaces)
        made = await workspaces.call("POST", f"/clusters/root:demo{MAPS}", config_map("a"))
        assert made.json["metadata"]["annotations"] == {"kcp.io/cluster": cluster}
        assert (await workspaces.call("GET", f"/clusters/{cluster}{MAPS}/a")).json == made.json
        assert (await workspaces.call("GET", f"{MAPS}/a")).status == 404

    async def test_the_wildcard_lists_and_watches_only(self, workspaces: Server) -> None:
        await self.make(workspaces)
        for cluster in ("root", "root:demo"):
            await workspaces.call("POST", f"/clusters/{cluster}{MAPS}", config_map("a"))
        listed = await workspaces.call("GET", "/clusters/*/api/v1/configmaps")
        assert len(listed.json["items"]) == 2
        assert (await workspaces.call("GET", f"/clusters/*{MAPS}/a")).status == 405
        body = config_map("b")
        assert (await workspaces.call("POST", f"/clusters/*{MAPS}", body)).status == 405

    async def test_unknown_clusters(self, workspaces: Server) -> None:
        assert (await workspaces.call("GET", f"/clusters/root:nope{MAPS}")).status == 404
        denied = await workspaces.call("GET", f"/clusters/root:nope{MAPS}", token="jane")
        assert denied.status == 403

    async def test_without_a_prefix_a_token_goes_to_its_own_cluster(
        self, workspaces: Server
    ) -> None:
        cluster = await self.make(workspaces)
        await workspaces.call("POST", f"/clusters/{cluster}{MAPS}", config_map("a"))
        assert (await workspaces.call("GET", f"{MAPS}/a", token=f"jane@{cluster}")).status == 200

    async def test_a_plain_server_has_no_clusters(self, plain: Server) -> None:
        assert (await plain.call("GET", f"/clusters/root{MAPS}")).status == 404
