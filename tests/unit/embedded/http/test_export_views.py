from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.exports.directory import Place
from kcpctl.embedded.http.export_views import ExportViews
from kcpctl.embedded.http.request import ApiRequest, parse_path
from kcpctl.embedded.status import StatusError
from tests.unit.embedded.exports.conftest import World, world

__all__ = ["world"]

Json = dict[str, Any]
WIDGETS = "/apis/example.com/v1/widgets"
ONE_WIDGET = "/apis/example.com/v1/namespaces/default/widgets/a"
SECRETS = "/api/v1/secrets"


def get(path: str) -> ApiRequest:
    return parse_path("GET", path, {})


class View:
    """One export's virtual workspace."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.views = ExportViews(world.registry, world.registry.exports)
        self.key = Place(world.provider, "widgets")
        world.schema()
        world.export(permissionClaims=[{"resource": "secrets", "verbs": ["*"]}])

    def names(self) -> set[str]:
        return {one.info.group_resource for one in self.views.served(self.key)}

    def claim(self, *claims: Json) -> None:
        body = {"spec": {"permissionClaims": list(claims)}}
        self.world.patch(self.world.provider, "apiexports", "widgets", body)

    def refusal(self, method: str, path: str, consumer: str) -> tuple[int, str]:
        with pytest.raises(StatusError) as refused:
            self.views.open(self.key, consumer, parse_path(method, path, {}))
        return refused.value.code, refused.value.message


@pytest.fixture
def view(world: World) -> View:
    return View(world)


def test_it_serves_what_is_exported_and_claimed_and_the_bindings(view: View) -> None:
    assert view.names() == {"widgets.example.com", "secrets", "apibindings.apis.kcp.io"}


def test_an_export_without_an_identity_serves_nothing(view: View) -> None:
    with pytest.raises(StatusError, match="404 page not found"):
        view.views.served(Place(view.world.provider, "lost"))


def test_only_what_can_be_claimed_is_served(view: View) -> None:
    # Deployments are an export's matter on a kcp, and need an identity.
    view.claim({"group": "apps", "resource": "deployments", "verbs": ["*"]})
    assert view.names() == {"widgets.example.com", "apibindings.apis.kcp.io"}


def test_a_claim_on_what_another_export_brings_needs_its_identity(view: View) -> None:
    view.world.schema("v1.gears.example.com")
    identity = view.world.export("v1.gears.example.com", name="gears")["status"]["identityHash"]
    view.claim(
        {
            "group": "example.com",
            "resource": "gears",
            "verbs": ["*"],
            "identityHash": identity,
        }
    )
    assert "gears.example.com" in view.names()


def test_a_claim_on_bindings_replaces_what_is_always_there(view: View) -> None:
    view.claim({"group": "apis.kcp.io", "resource": "apibindings", "verbs": ["*"]})
    found = view.views.find(view.key, get("/apis/apis.kcp.io/v1alpha2/apibindings"))
    assert found is not None
    assert "update" in found.info.verbs
    assert len(found.values) == 2


def test_there_is_no_endpoint_but_status(view: View) -> None:
    view.claim({"resource": "serviceaccounts", "verbs": ["*"]})
    view.world.bind()
    path = "/api/v1/namespaces/default/serviceaccounts/s/token"
    expected = (404, 'serviceaccounts "s" not found')
    assert view.refusal("POST", path, view.world.tenant) == expected
    found = view.views.find(view.key, get(WIDGETS))
    assert found is not None
    assert found.info.subresources == {"status"}


def test_a_resource_that_the_consumer_has_not_bound_is_empty(view: View) -> None:
    view.views.open(view.key, view.world.tenant, get(WIDGETS))
    assert view.refusal("GET", ONE_WIDGET, view.world.tenant)[0] == 404
    view.world.bind()
    info, _ = view.views.open(view.key, view.world.tenant, get(ONE_WIDGET))
    assert info.storage_key == view.world.widgets().storage_key


def test_a_resource_of_the_same_name_is_not_the_exports(view: View) -> None:
    view.world.schema("v2.widgets.example.com")
    view.world.export("v2.widgets.example.com", name="rival")
    view.world.bind("rival", export="rival")
    assert view.refusal("GET", ONE_WIDGET, view.world.tenant)[0] == 404
    info, _ = view.views.open(view.key, view.world.tenant, get(WIDGETS))
    assert info.storage_key != view.world.widgets().storage_key


def test_nothing_is_written_where_there_is_no_binding(view: View) -> None:
    code, message = view.refusal("DELETE", ONE_WIDGET, view.world.tenant)
    assert code == 403
    assert message.endswith("no suitable binding found")


def test_all_consumers_at_once_can_be_listed_in_all_namespaces_only(view: View) -> None:
    view.views.open(view.key, "*", get(WIDGETS))
    assert view.refusal("GET", ONE_WIDGET, "*")[0] == 404
    assert view.refusal("DELETE", WIDGETS, "*")[0] == 404
    code, message = view.refusal("GET", ONE_WIDGET.removesuffix("/a"), "*")
    assert code == 400
    assert message.endswith("not scoped to namespace default")


def test_a_watch_ends_when_the_export_changes_its_resource(view: View) -> None:
    ended: list[str] = []
    with (
        view.views.following(view.key, get(SECRETS), lambda: ended.append("secrets")),
        view.views.following(view.key, get(WIDGETS), lambda: ended.append("widgets")),
    ):
        view.claim(
            {"resource": "secrets", "verbs": ["get"]}, {"resource": "configmaps", "verbs": ["*"]}
        )
        assert ended == []
        view.claim()
        assert ended == ["secrets"]
        view.world.schema("v2.widgets.example.com")
        resource = {"name": "widgets", "group": "example.com", "schema": "v2.widgets.example.com"}
        body = {"spec": {"resources": [resource]}}
        view.world.patch(view.world.provider, "apiexports", "widgets", body)
        assert ended == ["secrets", "widgets"]
    ended.clear()
    view.world.delete(view.world.provider, "apiexports", "widgets")
    assert ended == []
