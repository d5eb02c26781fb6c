from __future__ import annotations

from kcpctl.embedded.exports.directory import reference
from tests.unit.embedded.exports.conftest import World


def test_bindings_are_found_by_path_and_by_name(world: World) -> None:
    world.schema()
    world.export()
    other = world.workspace("other")
    world.bind()
    world.bind(cluster=other, path=world.provider)
    exports = world.registry.exports
    found = exports.consumers(world.provider, "widgets")
    assert found == {(world.tenant, "widgets"), (other, "widgets")}
    assert [
        one["metadata"]["name"] for one in exports.bindings_in(other, world.provider, "widgets")
    ]
    world.delete(other, "apibindings", "widgets")
    assert exports.consumers(world.provider, "widgets") == {(world.tenant, "widgets")}
    assert exports.bindings_in(other, world.provider, "widgets") == []


def test_a_reference_without_a_path_is_to_the_own_workspace(world: World) -> None:
    world.schema()
    world.export()
    spec = {"reference": {"export": {"name": "widgets"}}}
    binding = world.create(world.provider, "apibindings", "own", spec)
    assert world.registry.exports.export_of(reference(world.provider, binding)) is not None
    assert len(world.registry.exports.consumers(world.provider, "widgets")) == 1
    assert world.registry.exports.export_of(reference(world.tenant, binding)) is None


def test_resources_of_an_export_are_those_of_its_schemas(world: World) -> None:
    exports = world.registry.exports
    world.export()
    assert exports.infos(world.provider, "widgets") == []
    world.schema()
    (info,) = exports.infos(world.provider, "widgets")
    identity = world.get(world.provider, "apiexports", "widgets")["status"]["identityHash"]
    assert (info.plural, info.identity) == ("widgets", identity)
    assert list(exports.identified("example.com", "widgets", identity)) == [info]
    assert not exports.identified("example.com", "widgets", "other")
    binding = world.bind()
    assert exports.infos_of_binding(binding) == [info]


def test_an_export_that_is_gone_has_nothing(world: World) -> None:
    world.bound()
    world.delete(world.provider, "apiexports", "widgets")
    exports = world.registry.exports
    assert exports.export(world.provider, "widgets") is None
    assert exports.infos(world.provider, "widgets") == []
    assert len(exports.consumers(world.provider, "widgets")) == 1
