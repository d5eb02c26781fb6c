"""What requests need in the words of RBAC."""

from __future__ import annotations

import pytest

from kcpctl.client import Call
from kcpctl.client.access import Access, access_of

POD = "/api/v1/namespaces/default/pods/web"
WATCH = {"watch": "true"}
ONE = {"watch": "true", "fieldSelector": "metadata.name=a"}


@pytest.mark.parametrize(
    ("method", "path", "query", "access"),
    [
        ("GET", POD, {}, Access("get", "", "pods", "default", "web")),
        ("GET", "/api/v1/pods", {}, Access("list", "", "pods")),
        ("GET", "/api/v1/namespaces/x/pods", WATCH, Access("watch", "", "pods", "x")),
        ("POST", "/api/v1/namespaces/x/pods", {}, Access("create", "", "pods", "x")),
        ("PUT", f"{POD}/status", {}, Access("update", "", "pods/status", "default", "web")),
        ("PATCH", "/apis/apps/v1/things/a", {}, Access("patch", "apps", "things", "", "a")),
        ("DELETE", "/api/v1/nodes/a", {}, Access("delete", "", "nodes", "", "a")),
        ("DELETE", "/api/v1/nodes", {}, Access("deletecollection", "", "nodes")),
        ("GET", "/clusters/root:a/api/v1/namespaces", {}, Access("list", "", "namespaces")),
        ("GET", "/api/v1/namespaces/x", {}, Access("get", "", "namespaces", "", "x")),
        ("PUT", "/api/v1/nodes/x/status", {}, Access("update", "", "nodes/status", "", "x")),
        ("GET", "/api/v1/namespaces/x/status", {}, Access("get", "", "namespaces/status", "", "x")),
        ("GET", "/apis/g.io/v1/things", ONE, Access("watch", "g.io", "things", "", "a")),
    ],
)  # fmt: skip
def test_a_request_needs_a_right(
    method: str, path: str, query: dict[str, str], access: Access
) -> None:
    assert access_of(Call(method, path, query)) == access


@pytest.mark.parametrize("path", ["/version", "/api", "/apis", "/api/v1", "/apis/apps/v1", "/"])
def test_what_is_no_resource_needs_none(path: str) -> None:
    assert access_of(Call("GET", path)) is None
