from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.exports.claim_labels import (
    BINDING_LABEL,
    OWN_BINDING_VALUE,
    ClaimLabels,
    binding_value,
    claim_label,
    claim_value,
)
from kcpctl.embedded.exports.directory import Place
from kcpctl.embedded.registry import Event
from tests.unit.embedded.exports.conftest import World

Json = dict[str, Any]
CLAIM: Json = {"resource": "configmaps", "verbs": ["*"]}


class Maps:
    """The ConfigMaps of the tenant, one of which may be claimed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.info = world.registry.info(world.tenant, "", "v1", "configmaps")
        self.label = claim_label(Place(world.provider, "widgets"))
        world.schema()
        world.export(permissionClaims=[CLAIM])

    def create(self, name: str = "a", **labels: str) -> None:
        body = {"metadata": {"name": name, "labels": labels}}
        self.world.registry.create(self.info, self.world.tenant, "default", body)

    def labels(self, name: str = "a") -> dict[str, str]:
        found = self.world.registry.get(self.info, self.world.tenant, "default", name)
        labels: dict[str, str] = found["metadata"].get("labels") or {}
        return labels

    def patch(self, **labels: str | None) -> None:
        body = {"metadata": {"labels": labels}}
        self.world.registry.patch(self.info, self.world.tenant, "default", "a", body)

    def accept(self, *claims: Json) -> None:
        body = {"spec": {"permissionClaims": list(claims)}}
        self.world.patch(self.world.tenant, "apibindings", "widgets", body)


@pytest.fixture
def maps(world: World) -> Maps:
    return Maps(world)


def accepted(**selector: Any) -> Json:
    return {**CLAIM, "state": "Accepted", "selector": selector or {"matchAll": True}}


def test_hashes_are_those_of_kcp() -> None:
    # As a running kcp (v0.33) had them on its objects.
    export = Place("1irluw4wa1h4baz1", "kcpctl")
    assert binding_value(export) == "2e8Wn4WD16aYYS90uROnZUyDICXSsDY084CZd6"
    roles = {"group": "rbac.authorization.k8s.io", "resource": "clusterroles", "identityHash": ""}
    assert claim_value(roles) == "ceXYeezY4ygHH3LFSWHglOA19Z3wolo6x5Qxa6"
    assert claim_value({"resource": "secrets"}) == "ctwrJRvMX7cX8wwk40Lz00UjJhYxPWE3TpN1lu"
    assert OWN_BINDING_VALUE == "LstvmbbzVDDOn90ZbhzSQO5U3DMCf88h1pZ"


def test_verbs_and_selectors_are_no_part_of_a_claims_value() -> None:
    plain = claim_value({"group": "", "resource": "secrets"})
    assert claim_value(accepted() | {"resource": "secrets"}) == plain
    assert claim_value({"resource": "secrets", "identityHash": ""}) == plain
    assert claim_value({"resource": "secrets", "identityHash": "a"}) != plain
    assert claim_value({"group": "b", "resource": "secrets"}) != plain


def test_objects_get_the_label_when_a_claim_is_accepted_and_lose_it_afterwards(
    world: World, maps: Maps
) -> None:
    world.bind()
    maps.create()
    assert maps.labels() == {}
    maps.accept(accepted())
    assert maps.labels() == {maps.label: claim_value(CLAIM)}
    maps.create("later")
    assert maps.labels("later") == {maps.label: claim_value(CLAIM)}
    maps.accept({**accepted(), "state": "Rejected"})
    assert maps.labels() == {}
    assert maps.labels("later") == {}


def test_objects_lose_the_label_with_the_binding(world: World, maps: Maps) -> None:
    world.bind(claims=[accepted()])
    maps.create()
    world.delete(world.tenant, "apibindings", "widgets")
    assert maps.labels() == {}


def test_the_label_follows_the_selector(world: World, maps: Maps) -> None:
    world.bind(claims=[accepted(matchLabels={"managed": "yes"})])
    maps.create(managed="no")
    assert maps.label not in maps.labels()
    maps.patch(managed="yes")
    assert maps.label in maps.labels()
    maps.patch(managed=None)
    assert maps.labels() == {}


def test_nobody_can_remove_or_forge_the_label(world: World, maps: Maps) -> None:
    maps.create()
    maps.patch(**{maps.label: claim_value(CLAIM)})
    assert maps.labels() == {}
    world.bind(claims=[accepted()])
    maps.patch(**{maps.label: None})
    assert maps.labels() == {maps.label: claim_value(CLAIM)}


def test_what_is_not_claimed_is_not_written_again(world: World, maps: Maps) -> None:
    maps.create()
    written: list[str] = []
    world.registry.subscribe(lambda event: written.append(event.info.plural))
    world.bind()
    maps.accept({**accepted(), "resource": "secrets"})
    assert "configmaps" not in written


def test_a_claim_on_events_labels_them(world: World, maps: Maps) -> None:
    events: list[Event] = []
    world.registry.subscribe(events.append)
    world.bind(claims=[{**accepted(), "resource": "events"}])
    info = world.registry.info(world.tenant, "events.k8s.io", "v1", "events")
    body = {
        "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Normal",
        "reason": "Because",
        "action": "Acting",
        "reportingController": "me",
        "reportingInstance": "me-1",
    }
    world.registry.create(info, world.tenant, "default", body)
    assert maps.label in events[-1].object["metadata"]["labels"]


def test_a_binding_carries_the_labels_of_its_export(world: World, maps: Maps) -> None:
    labels = world.bind()["metadata"]["labels"]
    value = binding_value(Place(world.provider, "widgets"))
    assert labels == {BINDING_LABEL: value, maps.label: OWN_BINDING_VALUE}


def test_claims_hold_after_a_restart(world: World, maps: Maps) -> None:
    world.bind(claims=[accepted()])
    labels = ClaimLabels(world.registry.backend, world.registry.exports)
    labels.load()
    obj: Json = {"metadata": {"name": "a"}}
    labels.put_on(maps.info, world.tenant, obj)
    assert obj["metadata"]["labels"] == {maps.label: claim_value(CLAIM)}
