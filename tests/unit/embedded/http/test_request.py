from __future__ import annotations

import pytest

from kcpctl.embedded.http.request import denied, parse_path, split_cluster
from kcpctl.embedded.status import StatusError
from kcpctl.embedded.user import UserInfo

JANE = UserInfo("jane")


@pytest.mark.parametrize(
    ("method", "path", "verb", "parts"),
    [
        ("GET", "/api/v1/pods", "list", ("", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/pods/", "list", ("", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/b", "get", ("", "v1", "a", "pods", "b", "")),
        (
            "PUT",
            "/api/v1/namespaces/a/pods/b/status",
            "update",
            ("", "v1", "a", "pods", "b", "status"),
        ),
        ("GET", "/api/v1/namespaces", "list", ("", "v1", "", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces/a", "get", ("", "v1", "a", "namespaces", "a", "")),
        (
            "PATCH",
            "/api/v1/namespaces/a/status",
            "patch",
            ("", "v1", "a", "namespaces", "a", "status"),
        ),
        (
            "POST",
            "/apis/apps/v1/namespaces/a/deployments",
            "create",
            ("apps", "v1", "a", "deployments", "", ""),
        ),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/a/deployments",
            "deletecollection",
            ("apps", "v1", "a", "deployments", "", ""),
        ),
        ("DELETE", "/apis/g/v1/things/x", "delete", ("g", "v1", "", "things", "x", "")),
        ("GET", "/api/v1/watch/namespaces/a/pods", "watch", ("", "v1", "a", "pods", "", "")),
        ("GET", "/api/v1/watch/pods", "watch", ("", "v1", "", "pods", "", "")),
    ],
)
def test_urls_name_resources(method: str, path: str, verb: str, parts: tuple[str, ...]) -> None:
    request = parse_path(method, path, {})
    assert request.is_resource
    assert request.verb == verb
    found = (request.group, request.version, request.namespace)
    assert (*found, request.plural, request.name, request.subresource) == parts


@pytest.mark.parametrize("path", ["/", "/healthz", "/api", "/apis", "/apis/apps/v1", "/api/v1/"])
def test_other_paths_are_no_resources(path: str) -> None:
    request = parse_path("GET", path, {})
    assert not request.is_resource
    assert request.verb == "get"


@pytest.mark.parametrize("path", ["/api/v1//namespaces", "/api/v1/pods/a/b/c"])
def test_empty_and_surplus_segments_are_malformed(path: str) -> None:
    assert parse_path("GET", path, {}).malformed


@pytest.mark.parametrize(
    ("value", "verb"),
    [
        ("true", "watch"),
        ("1", "watch"),
        ("bogus", "watch"),
        ("", "watch"),
        ("0", "list"),
        ("false", "list"),
    ],
)
def test_every_value_but_false_is_a_watch(value: str, verb: str) -> None:
    assert parse_path("GET", "/api/v1/pods", {"watch": [value]}).verb == verb


def test_head_and_unknown_methods_have_no_verb() -> None:
    assert parse_path("HEAD", "/api/v1/pods/a", {}).verb == ""
    assert parse_path("FOO", "/api/v1/pods", {}).verb == ""


def test_numbers_are_checked() -> None:
    request = parse_path("GET", "/api/v1/pods", {"limit": ["abc"]})
    with pytest.raises(StatusError) as caught:
        request.integer("limit")
    assert caught.value.message == 'strconv.ParseInt: parsing "abc": invalid syntax'
    assert request.integer("timeoutSeconds") is None


def test_a_list_of_one_name_is_authorized_as_that_name() -> None:
    query = {"fieldSelector": ["metadata.name=east"], "watch": ["1"]}
    attributes = parse_path("GET", "/apis/g/v1/synctargets", query).attributes("root")
    assert (attributes.verb, attributes.name) == ("watch", "east")


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/clusters/root:a/api/v1", ("root:a", "/api/v1")),
        ("/clusters/*/apis", ("*", "/apis")),
        ("/clusters/x", ("x", "/")),
        ("/api/v1", (None, "/api/v1")),
    ],
)
def test_the_cluster_is_split_off(path: str, parts: tuple[str | None, str]) -> None:
    assert split_cluster(path) == parts


def test_denials_read_as_on_the_real_server() -> None:
    request = parse_path("GET", "/apis/apps/v1/namespaces/n/deployments/x/scale", {})
    error = denied(JANE, request.attributes("root"))
    assert error.message == (
        'deployments.apps "x" is forbidden: User "jane" cannot get resource "deployments/scale" in '
        'API group "apps" in the namespace "n"'
    )
    request = parse_path("GET", "/api/v1/nodes", {})
    assert denied(JANE, request.attributes("root")).message == (
        'nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the '
        "cluster scope"
    )
    error = denied(JANE, parse_path("GET", "/metrics", {}).attributes("root"))
    assert error.message == 'forbidden: User "jane" cannot get path "/metrics"'
