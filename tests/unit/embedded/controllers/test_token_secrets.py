from __future__ import annotations

import base64
from typing import Any

import pytest

World = Any
TYPE = "kubernetes.io/service-account-token"
NAME = "kubernetes.io/service-account.name"
UID = "kubernetes.io/service-account.uid"


def secret(world: World, name: str = "t", account: str = "robot", **annotations: str) -> None:
    meta = {
        "name": name,
        "namespace": "default",
        "annotations": {NAME: account, **annotations},
    }
    world.create("secrets", {"metadata": meta, "type": TYPE})


@pytest.fixture
async def account(world: World) -> Any:
    world.create("serviceaccounts", {"metadata": {"name": "robot", "namespace": "default"}})
    return world.get("serviceaccounts", "robot", "default")


async def test_a_secret_gets_a_token_of_its_account(world: World, account: Any) -> None:
    secret(world)
    await world.settle()
    found = world.get("secrets", "t", "default")
    assert found["metadata"]["annotations"][UID] == account["metadata"]["uid"]
    data = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
    assert (data["ca.crt"], data["namespace"]) == ("the CA", "default")
    claims = world.tokens.verify(data["token"])
    assert (claims.name, claims.uid) == ("robot", account["metadata"]["uid"])
    assert (claims.bound.kind, claims.bound.uid) == ("secret", found["metadata"]["uid"])


async def test_a_token_is_made_once(world: World, account: Any) -> None:
    secret(world)
    await world.settle()
    before = world.get("secrets", "t", "default")
    world.patch("secrets", "t", {"data": {"ca.crt": None}}, "default")
    await world.settle()
    assert world.get("secrets", "t", "default")["data"] == before["data"]


@pytest.mark.parametrize("fields", [{"account": "nobody"}, {UID: "another-uid"}])
async def test_a_secret_without_its_account_goes(
    world: World, account: Any, fields: dict[str, str]
) -> None:
    secret(world, **fields)
    await world.settle()
    assert world.find("secrets", "t", "default") is None


async def test_a_secret_goes_with_its_account(world: World, account: Any) -> None:
    secret(world)
    world.create("secrets", {"metadata": {"name": "other", "namespace": "default"}})
    await world.settle()
    world.delete("serviceaccounts", "robot", "default")
    await world.settle()
    assert world.find("secrets", "t", "default") is None
    assert world.find("secrets", "other", "default") is not None
