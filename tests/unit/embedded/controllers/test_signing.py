from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509

from kcpctl.testing.certificates import signing_request

World = Any
REQUESTS = "certificates.k8s.io/certificatesigningrequests"
HOUR = 3600


def ask(world: World, **spec: Any) -> None:
    world.create(REQUESTS, signing_request("r", "jane", "dev", **spec)[0])


def judge(world: World, type_: str) -> None:
    condition = {"type": type_, "status": "True"}
    info = world.registry.info("root", "certificates.k8s.io", "v1", "certificatesigningrequests")
    change = {"status": {"conditions": [condition]}}
    world.registry.patch(info, "root", "", "r", change, subresource="approval")


def certificate(world: World) -> x509.Certificate | None:
    text = world.get(REQUESTS, "r")["status"].get("certificate")
    return x509.load_pem_x509_certificate(base64.b64decode(text)) if text else None


@pytest.mark.parametrize(
    ("verdict", "spec"),
    [
        (None, {}),
        ("Denied", {}),
        ("Approved", {"signerName": "kubernetes.io/kubelet-serving"}),
        ("Approved", {"usages": ["digital signature"]}),
    ],
)
async def test_nothing_else_is_signed(
    world: World, verdict: str | None, spec: dict[str, Any]
) -> None:
    ask(world, **spec)
    if verdict:
        judge(world, verdict)
    await world.settle()
    assert certificate(world) is None


@pytest.mark.parametrize(
    ("asked", "given"), [(600, 600), (7200, 7200), (None, 86_400 - 300), (10**6, 86_400 - 300)]
)
async def test_a_life_is_what_was_asked_for_and_never_too_long(
    world: World, asked: int | None, given: int
) -> None:
    """Like kube-controller-manager: lives above eight hours are shorter by the backdating."""
    ask(world, expirationSeconds=asked)
    judge(world, "Approved")
    await world.settle()
    made = certificate(world)
    assert made is not None
    now = world.clock.time()
    assert made.not_valid_after_utc.timestamp() - now == pytest.approx(given, abs=1)
    assert made.not_valid_before_utc.timestamp() - now == pytest.approx(-300, abs=1)


async def test_what_was_asked_for_beyond_the_login_is_not_signed(world: World) -> None:
    ask(world, usages=["client auth", "key encipherment"])
    judge(world, "Approved")
    await world.settle()
    made = certificate(world)
    assert made is not None
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_encipherment, usage.digital_signature) == (True, False)


@pytest.mark.parametrize(("verdict", "hours"), [("Denied", 1), ("Approved", 1), (None, 24)])
async def test_old_requests_are_taken_away(world: World, verdict: str | None, hours: int) -> None:
    ask(world)
    if verdict:
        judge(world, verdict)
    await world.settle()
    world.clock.step(hours * HOUR - 2)
    await world.settle()
    assert world.find(REQUESTS, "r")
    world.clock.step(3)
    await world.settle()
    assert world.find(REQUESTS, "r") is None
