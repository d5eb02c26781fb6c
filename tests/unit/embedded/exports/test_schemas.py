from __future__ import annotations

import pytest

from kcpctl.embedded.status import StatusError
from tests.unit.embedded.exports.conftest import World, schema_spec

KEPT = "boundschemas.internal.kcp.io"


def test_a_schema_is_kept_for_as_long_as_it_is_bound(world: World) -> None:
    world.bound()
    other = world.workspace("other")
    world.bind(cluster=other)
    world.delete(world.provider, "apiresourceschemas", "v1.widgets.example.com")
    world.delete(world.tenant, "apibindings", "widgets")
    assert [key for key, _ in world.registry.store.list(KEPT)]
    world.widget("a", other)
    world.delete(other, "apibindings", "widgets")
    assert not list(world.registry.store.list(KEPT))


def test_all_workspaces_share_the_resources(world: World) -> None:
    world.bound()
    other = world.workspace("other")
    world.bind(cluster=other)
    assert world.widgets() is world.widgets(other)


def test_names_may_be_path_segments(world: World) -> None:
    spec = schema_spec("v1.widgets.example.com", {"size": {"type": "integer"}})
    spec["nameValidation"] = "PathSegmentName"
    world.create(world.provider, "apiresourceschemas", "v1.widgets.example.com", spec)
    world.export()
    world.bind()
    assert world.widget("A:b")["metadata"]["name"] == "A:b"
    with pytest.raises(StatusError, match="may not contain '%'"):
        world.widget("a%b")


def test_a_schema_of_the_core_group_is_served(world: World) -> None:
    spec = {**schema_spec("v1.things.core", {}), "group": ""}
    world.create(world.provider, "apiresourceschemas", "v1.things.core", spec)
    resource = {"name": "things", "group": "", "schema": "v1.things.core"}
    world.create(world.provider, "apiexports", "things", {"resources": [resource]})
    world.bind("things", export="things")
    info = world.registry.info(world.tenant, "", "v1", "things")
    made = world.registry.create(info, world.tenant, "default", {"metadata": {"name": "a"}})
    assert made["apiVersion"] == "v1"


def test_a_version_that_is_not_served_is_not(world: World) -> None:
    spec = schema_spec("v1.widgets.example.com", {})
    old = {**spec["versions"][0], "name": "v1alpha1", "served": False, "storage": False}
    spec["versions"].append(old)
    spec["conversion"] = {"strategy": "None"}
    world.create(world.provider, "apiresourceschemas", "v1.widgets.example.com", spec)
    world.export()
    assert [info.version for info in world.registry.exports.infos(world.provider, "widgets")] == [
        "v1"
    ]
