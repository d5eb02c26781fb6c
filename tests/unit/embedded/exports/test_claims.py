from __future__ import annotations

from typing import Any

from tests.unit.embedded.exports.conftest import World

Json = dict[str, Any]
ALL = {"matchAll": True}


def claim(resource: str, *verbs: str, group: str = "", identity: str = "") -> Json:
    found = {"group": group, "resource": resource, "verbs": list(verbs)}
    return {**found, "identityHash": identity} if identity else found


def accepted(wanted: Json, state: str = "Accepted", **selector: Any) -> Json:
    return {**wanted, "state": state, "selector": selector or ALL}


def valid(world: World, binding: Json) -> tuple[str, str, str]:
    return world.condition(binding, "PermissionClaimsValid")


def test_accepted_claims_are_applied_and_others_are_not(world: World) -> None:
    world.schema()
    world.export(permissionClaims=[claim("secrets", "get"), claim("configmaps", "*")])
    rejected = accepted(claim("configmaps", "*"), "Rejected")
    status = world.bind(claims=[accepted(claim("secrets", "get")), rejected])["status"]
    applied = [(one["resource"], one["selector"]) for one in status["appliedPermissionClaims"]]
    assert applied == [("secrets", ALL)]
    assert [one["resource"] for one in status["exportPermissionClaims"]] == [
        "secrets",
        "configmaps",
    ]


def test_ready_does_not_depend_on_claims(world: World) -> None:
    world.schema()
    world.export(permissionClaims=[claim("secrets", "get")])
    binding = world.bind()
    for kind in ("Ready", "PermissionClaimsApplied", "PermissionClaimsValid"):
        assert world.condition(binding, kind)[0] == "True"
    assert "appliedPermissionClaims" not in binding["status"]


def test_a_claim_that_nobody_makes_is_told(world: World) -> None:
    world.schema()
    world.export()
    binding = world.bind(claims=[accepted(claim("secrets", "get"))])
    assert valid(world, binding) == (
        "False",
        "InvalidPermissionClaims",
        (
            "1 unexpected and/or invalid permission claims (showing first 1): unexpected/invalid "
            'claim for secrets. (identity "")'
        ),
    )
    assert "appliedPermissionClaims" not in binding["status"]


def test_claims_that_differ_are_told_and_applied(world: World) -> None:
    world.schema()
    world.export(permissionClaims=[claim("secrets", "get", "list")])
    binding = world.bind(claims=[accepted(claim("secrets", "get"))])
    assert valid(world, binding) == (
        "False",
        "PermissionClaimsMismatch",
        (
            "1 permission claim(s) have mismatched verbs or selectors (showing first 1): secrets. "
            "(verbs: accepted [get], exported [get list])"
        ),
    )
    assert len(binding["status"]["appliedPermissionClaims"]) == 1


def test_a_star_matches_all_verbs_here(world: World) -> None:
    world.schema()
    world.export(permissionClaims=[claim("secrets", "get")])
    binding = world.bind(claims=[accepted(claim("secrets", "*"))])
    assert valid(world, binding)[0] == "True"


def test_another_selector_than_the_default_is_told(world: World) -> None:
    world.schema()
    default = {"matchLabels": {"a": "b"}}
    world.export(permissionClaims=[{**claim("secrets", "get"), "defaultSelector": default}])
    status, _, message = valid(world, world.bind(claims=[accepted(claim("secrets", "get"))]))
    assert status == "False"
    assert message.endswith("secrets. (selector differs from defaultSelector)")


def test_a_claim_on_an_exported_resource_waits_for_it(world: World) -> None:
    world.schema()
    world.schema("v1.gears.example.com")
    identity = world.export(name="widgets")["status"]["identityHash"]
    gears = claim("gears", "get", group="example.com", identity=identity)
    world.export(name="user", permissionClaims=[gears])
    binding = world.bind("user", export="user", claims=[accepted(gears)])
    assert world.condition(binding, "PermissionClaimsApplied") == (
        "False",
        "InternalError",
        (
            "Permission claims have not been fully applied: error getting informer for "
            'group="example.com", resource="gears": unable to find informer for gears.example.com'
        ),
    )
    assert "appliedPermissionClaims" not in binding["status"]


def test_a_claim_heals_when_the_identity_appears(world: World) -> None:
    identity = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"  # of "test"
    world.schema()
    world.schema("v1.gears.example.com")
    gears = claim("gears", "get", group="example.com", identity=identity)
    world.export(name="user", permissionClaims=[gears])
    world.bind("user", export="user", claims=[accepted(gears)])
    world.secret("known", b"test")
    ref = {"secretRef": {"namespace": "default", "name": "known"}}
    world.export("v1.gears.example.com", name="gears", identity=ref)
    binding = world.get(world.tenant, "apibindings", "user")
    assert world.condition(binding, "PermissionClaimsApplied")[0] == "True"
