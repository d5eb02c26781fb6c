"""The virtual workspace of an APIExport on the embedded server, over real sockets."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import yaml

from kcpctl.testing import ControlPlane, eventually

Json = dict[str, Any]
APIS = "/apis/apis.kcp.io"
CLUSTER = "kcp.io/cluster"
PROVIDER = "provider"
SHERIFFS = "/apis/wild.west/v1/sheriffs"
SECRETS = "/api/v1/secrets"
RESOURCE = {"group": "wild.west", "name": "sheriffs", "schema": "today.sheriffs.wild.west"}
CLAIMS = [
    {"group": "", "resource": "secrets", "verbs": ["*"]},
    {"group": "", "resource": "configmaps", "verbs": ["get", "list", "watch"]},
    {"group": "", "resource": "events", "verbs": ["*"]},
    {"group": "", "resource": "serviceaccounts", "verbs": ["*"]},
    {"group": "rbac.authorization.k8s.io", "resource": "clusterroles", "verbs": ["*"]},
    {"group": "core.kcp.io", "resource": "logicalclusters", "verbs": ["get"]},
    {"group": "authorization.k8s.io", "resource": "subjectaccessreviews", "verbs": ["create"]},
]
SECONDS = 10.0


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Json:
        value: Json = json.loads(self.body)
        return value

    @property
    def names(self) -> list[tuple[str, str]]:
        """The cluster and name of each item of a list."""
        return [
            (item["metadata"]["annotations"][CLUSTER], item["metadata"]["name"])
            for item in self.json["items"]
        ]


class Stream:
    """A running watch."""

    def __init__(self, reply: http.client.HTTPResponse) -> None:
        self.reply = reply

    def next(self) -> tuple[str, str, str]:
        """Return the type, cluster and name of the next event."""
        event = json.loads(self.reply.readline())
        meta = event["object"]["metadata"]
        where = (meta.get("annotations") or {}).get(CLUSTER, "")
        return event["type"], where, meta.get("name", "")

    def ends(self) -> bool:
        """Whether nothing more comes."""
        return not self.reply.readline()


class Server:
    """Raw requests, as the administrator or as a user that is impersonated."""

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        config = yaml.safe_load(plane.kubeconfig.read_text())
        self.address = urlsplit(config["clusters"][0]["cluster"]["server"])
        authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
        self.tls = ssl.create_default_context(cadata=authority.decode())
        user = config["users"][0]["user"]
        pair = directory / "admin.pem"
        pair.write_bytes(
            base64.b64decode(user["client-certificate-data"])
            + base64.b64decode(user["client-key-data"])
        )
        self.tls.load_cert_chain(pair)
        self.names = count(1)

    def connect(self) -> http.client.HTTPSConnection:
        assert self.address.hostname is not None
        return http.client.HTTPSConnection(
            self.address.hostname, self.address.port, context=self.tls, timeout=SECONDS
        )

    def send(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str = "",
        kind: str = "application/json",
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": kind} | ({"Impersonate-User": user} if user else {})
        data = None if body is None else json.dumps(body)
        connection.request(method, quote(path, safe="/*:?&=%,"), data, headers)
        return connection.getresponse()

    def call(self, method: str, path: str, body: Any = None, **more: str) -> Reply:
        with closing(self.connect()) as connection:
            answer = self.send(connection, method, path, body, **more)
            return Reply(answer.status, answer.headers, answer.read())

    def ok(self, method: str, path: str, body: Any = None, **more: str) -> Json:
        reply = self.call(method, path, body, **more)
        assert reply.status < 300, reply.body
        return reply.json

    @contextmanager
    def watch(self, path: str, user: str = PROVIDER) -> Iterator[Stream]:
        with closing(self.connect()) as connection:
            answer = self.send(connection, "GET", path, user=user)
            assert answer.status == 200, answer.read()
            yield Stream(answer)

    def workspace(self, name: str = "") -> Workspace:
        """Make a workspace below root."""
        name = name or f"ws-{next(self.names)}"
        path = "/clusters/root/apis/tenancy.kcp.io/v1alpha1/workspaces"
        made = self.ok("POST", path, {"metadata": {"name": name}})
        made = self.ok("GET", f"{path}/{made['metadata']['name']}")
        return Workspace(self, name, made["spec"]["cluster"])


@dataclass
class Workspace:
    server: Server
    name: str
    cluster: str

    def url(self, path: str) -> str:
        return f"/clusters/{self.cluster}{path}"

    def ok(self, method: str, path: str, body: Any = None, **more: str) -> Json:
        return self.server.ok(method, self.url(path), body, **more)

    def grant(self, user: str, verbs: list[str], export: str = "wild.west") -> None:
        """Let a user into this workspace, and into the content of an export."""
        rules = [
            {"nonResourceURLs": ["/"], "verbs": ["access"]},
            {
                "apiGroups": ["apis.kcp.io"],
                "resources": ["apiexports/content"],
                "resourceNames": [export],
                "verbs": verbs,
            },
        ]
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        self.ok("POST", f"{rbac}/clusterroles", {"metadata": {"name": user}, "rules": rules})
        binding = {
            "metadata": {"name": user},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": user,
            },
            "subjects": [{"kind": "User", "name": user}],
        }
        self.ok("POST", f"{rbac}/clusterrolebindings", binding)

    def bind(self, *claims: Json, name: str = "west") -> Json:
        """Bind the provider's export."""
        spec = {
            "reference": {"export": {"path": f"root:{PROVIDER}", "name": "wild.west"}},
            "permissionClaims": list(claims),
        }
        body = {"metadata": {"name": name}, "spec": spec}
        return self.ok("POST", f"{APIS}/v1alpha2/apibindings", body)

    def claims(self, *claims: Json) -> None:
        """Accept other claims."""
        path = f"{APIS}/v1alpha2/apibindings/west"
        body = {"spec": {"permissionClaims": list(claims)}}
        self.ok("PATCH", path, body, kind="application/merge-patch+json")

    def add(self, path: str, name: str, **fields: Any) -> Json:
        """Create an object in namespace default."""
        metadata = {"name": name, **fields.pop("metadata", {})}
        head, _, plural = path.rpartition("/")
        return self.ok(
            "POST", f"{head}/namespaces/default/{plural}", {"metadata": metadata, **fields}
        )


def accepted(resource: str, group: str = "", state: str = "Accepted", **selector: Any) -> Json:
    """Return the answer to one of the provider's claims."""
    claim = next(one for one in CLAIMS if (one["group"], one["resource"]) == (group, resource))
    return {**claim, "state": state, "selector": selector or {"matchAll": True}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with ControlPlane() as plane:
        yield Server(plane, tmp_path_factory.mktemp("admin"))


@pytest.fixture(scope="module")
def provider(server: Server) -> Workspace:
    """The workspace with the export, into which the user `provider` may."""
    workspace = server.workspace(PROVIDER)
    names = {
        "plural": "sheriffs",
        "singular": "sheriff",
        "kind": "Sheriff",
        "listKind": "SheriffList",
    }
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"type": "object", "properties": {"spec": anything, "status": anything}},
    }
    schema = {
        "metadata": {"name": "today.sheriffs.wild.west"},
        "spec": {
            "group": "wild.west",
            "names": names,
            "scope": "Namespaced",
            "versions": [version],
        },
    }
    workspace.ok("POST", f"{APIS}/v1alpha1/apiresourceschemas", schema)
    export = {
        "metadata": {"name": "wild.west"},
        "spec": {"resources": [RESOURCE], "permissionClaims": CLAIMS},
    }
    workspace.ok("POST", f"{APIS}/v1alpha2/apiexports", export)
    workspace.grant(PROVIDER, ["*"])
    return workspace


@dataclass
class Export:
    """The virtual workspace, as its provider sees it."""

    server: Server
    provider: Workspace

    def url(self, path: str, consumer: str = "*", export: str = "wild.west") -> str:
        head = f"/services/apiexport/{self.provider.cluster}/{export}"
        return f"{head}/clusters/{consumer}{path}"

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        at: Workspace | None = None,
        user: str = PROVIDER,
        kind: str = "application/json",
    ) -> Reply:
        url = self.url(path, at.cluster if at else "*")
        return self.server.call(method, url, body, user=user, kind=kind)

    @contextmanager
    def watch(self, path: str, at: Workspace | None = None) -> Iterator[Stream]:
        with self.server.watch(self.url(path, at.cluster if at else "*")) as stream:
            yield stream


@pytest.fixture(scope="module")
def export(server: Server, provider: Workspace) -> Export:
    return Export(server, provider)


@pytest.fixture(scope="module")
def tenants(server: Server, provider: Workspace) -> tuple[Workspace, Workspace]:
    """Two consumers; the first accepts the claim on secrets, the second none."""
    first, second = server.workspace(), server.workspace()
    first.bind(accepted("secrets"))
    second.bind()
    return first, second


def expect(stream: Stream, *events: tuple[str, Workspace, str]) -> None:
    for kind, workspace, name in events:
        assert stream.next() == (kind, workspace.cluster, name)


def test_all_consumers_are_in_one_list_and_one_watch(
    export: Export, tenants: tuple[Workspace, Workspace]
) -> None:
    first, second = tenants
    first.add(SHERIFFS, "woody")
    listed = export.call("GET", SHERIFFS)
    assert listed.names == [(first.cluster, "woody")]
    version = listed.json["metadata"]["resourceVersion"]
    with export.watch(f"{SHERIFFS}?watch=1&resourceVersion={version}") as stream:
        second.add(SHERIFFS, "buzz")
        second.ok("DELETE", "/apis/wild.west/v1/namespaces/default/sheriffs/buzz")
        first.ok("DELETE", "/apis/wild.west/v1/namespaces/default/sheriffs/woody")
        expect(stream, ("ADDED", second, "buzz"), ("DELETED", second, "buzz"))
        expect(stream, ("DELETED", first, "woody"))


def test_a_watch_can_begin_with_what_there_is(
    export: Export, tenants: tuple[Workspace, Workspace]
) -> None:
    first, _ = tenants
    first.add(SHERIFFS, "first")
    query = "watch=1&sendInitialEvents=1&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1"
    with export.watch(f"{SHERIFFS}?{query}") as stream:
        expect(stream, ("ADDED", first, "first"))
        assert stream.next()[0] == "BOOKMARK"
        first.ok("DELETE", "/apis/wild.west/v1/namespaces/default/sheriffs/first")
        expect(stream, ("DELETED", first, "first"))


def test_the_bindings_of_the_export_can_be_read_and_not_written(
    export: Export, tenants: tuple[Workspace, Workspace], server: Server
) -> None:
    path = f"{APIS}/v1alpha2/apibindings"
    names = export.call("GET", path).names
    assert {(one.cluster, "west") for one in tenants} <= set(names)
    assert all(name == "west" for _, name in names)
    at = tenants[0]
    assert export.call("GET", f"{path}/west", at=at).status == 200
    refused = export.call("DELETE", f"{path}/west", at=at)
    assert refused.status == 403
    assert refused.json["message"].endswith("at the cluster scope: access denied")


def test_a_claimed_resource_shows_what_accepted_claims_admit(
    export: Export, server: Server, tenants: tuple[Workspace, Workspace]
) -> None:
    first, second = tenants
    by_label = server.workspace()
    labels = {"managed": "yes"}
    by_label.bind(accepted("secrets", matchLabels=labels))
    first.add(SECRETS, "all")
    second.add(SECRETS, "none")
    by_label.add(SECRETS, "hidden")
    by_label.add(SECRETS, "shown", metadata={"labels": labels})
    expected = sorted([(first.cluster, "all"), (by_label.cluster, "shown")])
    assert export.call("GET", SECRETS).names == expected
    secret = "/api/v1/namespaces/default/secrets"
    assert export.call("GET", f"{secret}/shown", at=by_label).status == 200
    assert export.call("GET", f"{secret}/hidden", at=by_label).status == 404
    assert export.call("GET", f"{secret}/none", at=second).status == 403
    for workspace in (first, second, by_label):
        workspace.ok("DELETE", secret)


def test_what_the_selector_does_not_admit_cannot_be_written(export: Export, server: Server) -> None:
    tenant = server.workspace()
    tenant.bind(accepted("secrets", matchLabels={"managed": "yes"}))
    tenant.add(SECRETS, "hidden")
    tenant.add(SECRETS, "shown", metadata={"labels": {"managed": "yes"}})
    path = "/api/v1/namespaces/default/secrets"
    hidden = f"{path}/hidden"
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"}}
    merge, apply = "application/merge-patch+json", "application/apply-patch+yaml"
    assert export.call("PATCH", hidden, {}, at=tenant, kind=merge).status == 404
    assert export.call("PUT", hidden, body, at=tenant).status == 404
    assert export.call("DELETE", hidden, at=tenant).status == 403
    query = "?fieldManager=me&force=1"
    assert export.call("PATCH", f"{hidden}{query}", body, at=tenant, kind=apply).status == 409
    assert export.call("DELETE", path, at=tenant).status == 200
    left = tenant.ok("GET", path)["items"]
    assert [one["metadata"]["name"] for one in left] == ["hidden"]


def test_objects_get_the_labels_that_the_claim_wants(export: Export, server: Server) -> None:
    tenant = server.workspace()
    tenant.bind(accepted("secrets", matchLabels={"managed": "yes"}))
    path = "/api/v1/namespaces/default/secrets"
    made = export.call("POST", path, {"metadata": {"name": "a"}}, at=tenant)
    assert made.status == 201
    assert made.json["metadata"]["labels"]["managed"] == "yes"
    body = {"metadata": {"name": "b", "labels": {"managed": "no"}}}
    refused = export.call("POST", path, body, at=tenant)
    assert refused.status == 403
    assert refused.json["message"] == (
        'secrets "b" is forbidden: protected label managed must have value yes'
    )
    config = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}}
    url = f"{path}/c?fieldManager=me&force=1"
    kind = "application/apply-patch+yaml"
    applied = export.call("PATCH", url, config, at=tenant, kind=kind)
    assert applied.json["metadata"]["labels"]["managed"] == "yes"
    assert {name for _, name in export.call("GET", path, at=tenant).names} == {"a", "c"}


def test_an_apply_ends_as_an_update_and_removes_nothing(export: Export, server: Server) -> None:
    tenant = server.workspace()
    tenant.bind()
    path = "/apis/wild.west/v1/namespaces/default/sheriffs/a?fieldManager=me&force=1"
    head = {"apiVersion": "wild.west/v1", "kind": "Sheriff", "metadata": {"name": "a"}}
    kind = "application/apply-patch+yaml"
    for spec in ({"a": 1, "b": 2}, {"a": 1}, {"c": 3}):
        reply = export.call("PATCH", path, {**head, "spec": spec}, at=tenant, kind=kind)
        assert reply.status == 200
    assert reply.json["spec"] == {"a": 1, "b": 2, "c": 3}
    owners = [(one["manager"], one["operation"]) for one in reply.json["metadata"]["managedFields"]]
    assert owners == [("me", "Update")]
    direct = tenant.ok("PATCH", path, {**head, "spec": {"c": 4}}, kind=kind)
    owners = [(one["manager"], one["operation"]) for one in direct["metadata"]["managedFields"]]
    assert owners == [("me", "Apply"), ("me", "Update")]


def test_a_running_watch_follows_the_claim_and_the_selector(export: Export, server: Server) -> None:
    tenant = server.workspace()
    tenant.bind()
    path = "/api/v1/namespaces/default/secrets"
    tenant.add(SECRETS, "a")
    start = export.call("GET", SECRETS).json["metadata"]["resourceVersion"]
    merge = "application/merge-patch+json"
    with export.watch(f"{SECRETS}?watch=1&resourceVersion={start}") as stream:
        tenant.claims(accepted("secrets"))
        expect(stream, ("ADDED", tenant, "a"))
        tenant.claims(accepted("secrets", state="Rejected"))
        expect(stream, ("DELETED", tenant, "a"))
        tenant.claims()
        tenant.claims(accepted("secrets", matchLabels={"managed": "yes"}))
        for value in ("yes", "no"):
            body = {"metadata": {"labels": {"managed": value}}}
            tenant.ok("PATCH", f"{path}/a", body, kind=merge)
        expect(stream, ("ADDED", tenant, "a"), ("DELETED", tenant, "a"))
        body = {"metadata": {"labels": {"managed": "yes"}}}
        tenant.ok("PATCH", f"{path}/a", body, kind=merge)
        tenant.ok("DELETE", f"{APIS}/v1alpha2/apibindings/west")
        expect(stream, ("ADDED", tenant, "a"), ("DELETED", tenant, "a"))


def test_verbs_need_both_the_claim_and_its_acceptance(export: Export, server: Server) -> None:
    tenant = server.workspace()
    maps = "/api/v1/namespaces/default/configmaps"
    tenant.bind({**accepted("configmaps"), "verbs": ["get", "list", "update"]})
    tenant.add("/api/v1/configmaps", "a")
    assert export.call("GET", f"{maps}/a", at=tenant).status == 200
    for method, path in (("GET", f"{maps}?watch=1"), ("PUT", f"{maps}/a"), ("POST", maps)):
        reply = export.call(method, path, {} if method != "GET" else None, at=tenant)
        assert reply.status == 403
        assert reply.json["message"].endswith('in the namespace "default": access denied')


def test_a_consumer_is_written_as_by_its_administrator(export: Export, server: Server) -> None:
    tenant = server.workspace()
    tenant.bind(
        accepted("clusterroles", "rbac.authorization.k8s.io"),
        accepted("logicalclusters", "core.kcp.io"),
        accepted("subjectaccessreviews", "authorization.k8s.io"),
    )
    path = "/apis/wild.west/v1/namespaces/default/sheriffs"
    assert export.call("POST", path, {"metadata": {"name": "a"}}, at=tenant).status == 201
    patched = export.call(
        "PATCH",
        f"{path}/a/status",
        {"status": {"town": "dodge"}},
        at=tenant,
        kind="application/merge-patch+json",
    )
    assert patched.json["status"] == {"town": "dodge"}
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    body = {"metadata": {"name": "all"}, "rules": rules}
    assert export.call("POST", roles, body, at=tenant).status == 201
    found = export.call("GET", "/apis/core.kcp.io/v1alpha1/logicalclusters/cluster", at=tenant)
    assert found.json["metadata"]["annotations"]["kcp.io/path"] == f"root:{tenant.name}"
    review = {"spec": {"user": "jane", "nonResourceAttributes": {"path": "/", "verb": "get"}}}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert export.call("POST", path, review, at=tenant).json["status"]["allowed"] is False


def test_a_token_is_had_by_a_secret_alone(export: Export, server: Server) -> None:
    tenant = server.workspace()
    tenant.bind(accepted("secrets"), accepted("serviceaccounts"))
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    assert export.call("POST", accounts, {"metadata": {"name": "s"}}, at=tenant).status == 201
    token = export.call("POST", f"{accounts}/s/token", {}, at=tenant)
    assert (token.status, token.json["message"]) == (404, 'serviceaccounts "s" not found')
    secret = {
        "metadata": {"name": "s", "annotations": {"kubernetes.io/service-account.name": "s"}},
        "type": "kubernetes.io/service-account-token",
    }
    path = "/api/v1/namespaces/default/secrets"
    made = export.call("POST", path, secret, at=tenant)
    assert made.json["metadata"]["managedFields"][0]["manager"] == "kcp"
    eventually(lambda: "token" in export.call("GET", f"{path}/s", at=tenant).json.get("data", {}))


def test_events_are_one_resource_in_two_groups(export: Export, server: Server) -> None:
    tenant = server.workspace()
    tenant.bind(accepted("events"))
    event = {
        "metadata": {"name": "e"},
        "reason": "Because",
        "action": "Acting",
        "type": "Normal",
        "eventTime": "2026-01-02T03:04:05.000000Z",
        "reportingController": "me",
        "reportingInstance": "me-1",
    }
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    assert export.call("POST", path, event, at=tenant).status == 201
    assert export.call("GET", "/api/v1/events").names == [(tenant.cluster, "e")]


def test_the_content_of_an_export_is_a_right_in_its_workspace(
    export: Export, provider: Workspace, tenants: tuple[Workspace, Workspace]
) -> None:
    provider.grant("reader", ["get", "list"])
    assert export.call("GET", SHERIFFS, user="reader").status == 200
    assert export.call("GET", "/apis", user="reader").status == 200
    assert export.call("GET", f"{SHERIFFS}?watch=1", user="reader").status == 403
    denied = export.call("GET", SHERIFFS, user="stranger")
    assert denied.json["message"] == (
        'sheriffs.wild.west is forbidden: User "stranger" cannot list resource "sheriffs" in API '
        'group "wild.west" at the cluster scope: access denied'
    )
    # Rights in the consumer are no help.
    tenants[0].grant("tenant", ["*"])
    assert export.call("GET", SHERIFFS, at=tenants[0], user="tenant").status == 403


def test_workspaces_without_a_binding_are_closed(export: Export, server: Server) -> None:
    stranger = server.workspace()
    for path in (SHERIFFS, SECRETS, f"{APIS}/v1alpha2/apibindings"):
        assert export.call("GET", path, at=stranger).status == 403


def test_discovery_shows_what_is_exported_and_claimed(export: Export) -> None:
    groups = {group["name"] for group in export.call("GET", "/apis").json["groups"]}
    assert groups == {
        "apis.kcp.io",
        "authorization.k8s.io",
        "core.kcp.io",
        "events.k8s.io",
        "rbac.authorization.k8s.io",
        "wild.west",
    }
    core = export.call("GET", "/api/v1").json["resources"]
    assert {one["name"] for one in core} == {"configmaps", "events", "secrets", "serviceaccounts"}
    assert all(len(one["verbs"]) == 8 for one in core)
    west = export.call("GET", "/apis/wild.west/v1").json["resources"]
    assert [one["name"] for one in west] == ["sheriffs", "sheriffs/status"]
    bindings = export.call("GET", f"{APIS}/v1alpha2").json["resources"]
    assert [(one["name"], one["verbs"]) for one in bindings] == [
        ("apibindings", ["get", "list", "watch"])
    ]
    assert export.call("GET", "/apis/apps/v1/deployments").status == 404
    assert export.call("GET", "/apis/apps/v1").body == b"404 page not found\n"
    assert export.call("GET", "/openapi/v3").status == 200


def test_all_consumers_at_once_can_only_be_read(export: Export) -> None:
    assert export.call("POST", SHERIFFS, {"metadata": {"name": "a"}}).status == 404
    reply = export.call("GET", "/api/v1/namespaces/default/secrets")
    assert reply.status == 400
    assert "cross-cluster LIST and WATCH" in reply.json["message"]


def test_an_export_that_is_not_there_is_an_error_of_the_server(
    export: Export, provider: Workspace, server: Server
) -> None:
    provider.grant("lost", ["*"], export="lost")
    url = export.url(SECRETS, export="lost")
    reply = server.call("GET", url, user="lost")
    assert reply.status == 500
    assert reply.body.decode() == (
        f'Internal Server Error: "{url}": API export not found: apiexport.apis.kcp.io "lost" not '
        "found\n"
    )
    assert server.call("GET", url).status == 404
    assert server.call("GET", "/services/apiexport/x").status == 404
    assert server.call("GET", "/services/apiexport/x", user=PROVIDER).json["message"] == (
        'forbidden: User "provider" cannot get path "/services/apiexport/x": Path not resolved to '
        "a valid virtual workspace"
    )


def test_what_nobody_has_bound_is_a_list_without_a_version(
    server: Server, provider: Workspace, export: Export
) -> None:
    """And a watch that is not answered: what begins too early on a kcp has to begin again."""
    body = {"metadata": {"name": "early"}, "spec": {"resources": [RESOURCE]}}
    provider.ok("POST", f"{APIS}/v1alpha2/apiexports", body)
    url = export.url(SHERIFFS, export="early")
    assert server.call("GET", url).json == {
        "apiVersion": "wild.west/v1",
        "kind": "SheriffList",
        "items": [],
    }
    with closing(server.connect()) as connection:
        connection.timeout = 0.3
        with pytest.raises(TimeoutError):
            server.send(connection, "GET", f"{url}?watch=1&sendInitialEvents=1")


def test_watches_end_when_the_export_serves_something_else(
    export: Export, provider: Workspace
) -> None:
    path = f"{APIS}/v1alpha2/apiexports/wild.west"
    merge = "application/merge-patch+json"
    with export.watch(f"{SECRETS}?watch=1&resourceVersion=0") as secrets:
        while secrets.next()[0] != "ADDED":
            pass
        left = [one for one in CLAIMS if one["resource"] != "secrets"]
        provider.ok("PATCH", path, {"spec": {"permissionClaims": left}}, kind=merge)
        while secrets.next()[0] != "ERROR":
            pass
        assert secrets.ends()
        assert export.call("GET", SECRETS).status == 404
    provider.ok("PATCH", path, {"spec": {"permissionClaims": CLAIMS}}, kind=merge)
