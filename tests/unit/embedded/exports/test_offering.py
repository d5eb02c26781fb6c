from __future__ import annotations

import base64
import hashlib
from typing import Any

from tests.unit.embedded.exports.conftest import World

Json = dict[str, Any]
NOTHING: Json = {"resources": []}


def secrets(world: World) -> list[str]:
    info = world.registry.info(world.provider, "", "v1", "secrets")
    found = world.registry.list(info, world.provider, "kcp-system")
    return [one["metadata"]["name"] for one in found]


def endpoints(world: World, name: str = "widgets") -> list[str]:
    status = world.get(world.provider, "apiexportendpointslices", name)["status"]
    return [one["url"] for one in status.get("endpoints", ())]


def test_an_export_gets_an_identity(world: World) -> None:
    export = world.export()
    assert export["spec"]["identity"] == {
        "secretRef": {"namespace": "kcp-system", "name": "widgets"}
    }
    info = world.registry.info(world.provider, "", "v1", "secrets")
    secret = world.registry.get(info, world.provider, "kcp-system", "widgets")
    key = base64.b64decode(secret["data"]["key"])
    assert export["status"]["identityHash"] == hashlib.sha256(key).hexdigest()
    assert world.condition(export, "IdentityValid")[0] == "True"


def test_two_exports_have_two_identities(world: World) -> None:
    hashes = {world.export(name=name)["status"]["identityHash"] for name in ("one", "two")}
    assert len(hashes) == 2
    assert secrets(world) == ["one", "two"]


def test_an_identity_that_is_given_is_taken(world: World) -> None:
    ref = {"secretRef": {"namespace": "default", "name": "mine"}}
    export = world.export(identity=ref)
    missing = ("False", "IdentityVerificationFailed", 'secrets "mine" not found')
    assert world.condition(export, "IdentityValid") == missing
    assert "identityHash" not in export["status"]
    world.secret("mine", b"known")
    export = world.get(world.provider, "apiexports", "widgets")
    assert export["status"]["identityHash"] == hashlib.sha256(b"known").hexdigest()
    assert secrets(world) == []


def test_another_key_in_the_secret_is_refused(world: World) -> None:
    before = world.export()["status"]["identityHash"]
    info = world.registry.info(world.provider, "", "v1", "secrets")
    data = {"data": {"key": base64.b64encode(b"other").decode()}}
    world.registry.patch(info, world.provider, "kcp-system", "widgets", data)
    export = world.get(world.provider, "apiexports", "widgets")
    assert export["status"]["identityHash"] == before
    status, _, message = world.condition(export, "IdentityValid")
    assert status == "False"
    assert message.startswith("hash mismatch: identity secret hash ")


def test_a_binding_waits_for_the_identity(world: World) -> None:
    world.schema()
    world.export(identity={"secretRef": {"namespace": "default", "name": "later"}})
    status, reason, _ = world.condition(world.bind(), "APIExportValid")
    assert (status, reason) == ("False", "MissingIdentityHash")
    world.secret("later", b"x")
    assert world.get(world.tenant, "apibindings", "widgets")["status"]["phase"] == "Bound"


def test_an_export_gets_a_slice_again_and_again(world: World) -> None:
    world.export()
    found = world.get(world.provider, "apiexportendpointslices", "widgets")
    assert found["spec"] == {"export": {"name": "widgets", "path": "root:provider"}}
    assert [one["type"] for one in found["status"]["conditions"]] == [
        "APIExportValid",
        "PartitionValid",
    ]
    world.delete(world.provider, "apiexportendpointslices", "widgets")
    assert world.get(world.provider, "apiexportendpointslices", "widgets")["status"]


def test_an_export_may_go_without_a_slice(world: World) -> None:
    skip = {"apiexports.apis.kcp.io/skip-endpointslice": ""}
    world.create(world.provider, "apiexports", "alone", NOTHING, annotations=skip)
    assert world.find(world.provider, "apiexportendpointslices", "alone") is None


def test_a_slice_lists_the_server_while_something_is_bound(world: World) -> None:
    world.export()
    assert endpoints(world) == []
    world.bind()
    url = f"https://host:1/services/apiexport/{world.provider}/widgets"
    assert endpoints(world) == [url]
    world.registry.serve_at("https://host:2")
    assert endpoints(world) == [url.replace("host:1", "host:2")]
    world.delete(world.tenant, "apibindings", "widgets")
    assert endpoints(world) == []


def test_a_slice_elsewhere_follows_the_export(world: World) -> None:
    spec = {"export": {"path": "root:provider", "name": "widgets"}}
    world.create(world.tenant, "apiexportendpointslices", "mine", spec)

    def valid() -> tuple[str, str, str]:
        found = world.get(world.tenant, "apiexportendpointslices", "mine")
        return world.condition(found, "APIExportValid")

    missing = ("False", "APIExportNotFound", "Error getting APIExport root:provider|widgets")
    assert valid() == missing
    world.bound()
    assert valid()[0] == "True"
    found = world.get(world.tenant, "apiexportendpointslices", "mine")
    assert len(found["status"]["endpoints"]) == 1
    world.delete(world.provider, "apiexports", "widgets")
    assert valid() == missing
    found = world.get(world.tenant, "apiexportendpointslices", "mine")
    assert "endpoints" not in found["status"]


def test_a_partition_that_nobody_knows_has_no_endpoints(world: World) -> None:
    world.bound()
    spec = {"export": {"path": "root:provider", "name": "widgets"}, "partition": "north"}
    world.create(world.provider, "apiexportendpointslices", "north", spec)
    found = world.get(world.provider, "apiexportendpointslices", "north")
    assert world.condition(found, "PartitionValid")[1] == "PartitionInvalidReference"
    assert endpoints(world, "north") == []


def test_a_workspace_that_is_deleted_gets_nothing_new(world: World) -> None:
    world.export()
    world.export(name="held")
    hold = {"metadata": {"finalizers": ["example.com/hold"]}}
    world.patch(world.provider, "apiexports", "held", hold)
    info = world.registry.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
    world.registry.delete(info, "root", "", "provider")
    assert secrets(world) == []
    assert world.find(world.provider, "apiexportendpointslices", "held") is None
    world.patch(world.provider, "apiexports", "held", {"metadata": {"finalizers": None}})
    assert world.registry.find(info, "root", "", "provider") is None
