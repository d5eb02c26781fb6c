from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.security.tokens import (
    ISSUER,
    BoundObject,
    Claims,
    ServiceAccountTokens,
    unverified_cluster,
)
from kcpctl.testing.clock import FakeClock

KEY = ec.generate_private_key(ec.SECP256R1())
CLAIMS = Claims("root", "default", "bot", "uid-1")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tokens(clock: FakeClock) -> ServiceAccountTokens:
    return ServiceAccountTokens(KEY, clock=clock)


def parts(token: str) -> tuple[dict[str, object], dict[str, object]]:
    header, payload, _ = token.split(".")
    first, second = (
        json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, payload)
    )
    return first, second


def encode(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("token", ["", "garbage", "a.b", "a.b.c", "....", "e30.e30.e30", "é.x.y"])
def test_what_is_no_token_is_refused(tokens: ServiceAccountTokens, token: str) -> None:
    assert tokens.verify(token) is None
    assert unverified_cluster(token) is None


def test_a_token_of_another_key_is_refused(tokens: ServiceAccountTokens, clock: FakeClock) -> None:
    other = ServiceAccountTokens(ec.generate_private_key(ec.SECP256R1()), clock=clock)
    token, _ = other.issue(CLAIMS, 600)
    assert tokens.verify(token) is None


def test_changed_claims_are_refused(tokens: ServiceAccountTokens) -> None:
    token, _ = tokens.issue(CLAIMS, 600)
    header, payload = parts(token)
    payload["sub"] = "system:serviceaccount:kube-system:admin"
    forged = f"{encode(header)}.{encode(payload)}.{token.split('.')[2]}"
    assert tokens.verify(forged) is None


def test_an_unsigned_token_is_refused(tokens: ServiceAccountTokens) -> None:
    token, _ = tokens.issue(CLAIMS, 600)
    header, payload = parts(token)
    for algorithm in ("none", "HS256"):
        forged = f"{encode({**header, 'alg': algorithm})}.{encode(payload)}."
        assert tokens.verify(forged) is None


def test_a_token_ends_with_its_time(tokens: ServiceAccountTokens, clock: FakeClock) -> None:
    token, ends = tokens.issue(CLAIMS, 600)
    assert ends == clock.time() + 600
    clock.step(609)
    assert tokens.verify(token) is not None
    clock.step(2)
    assert tokens.verify(token) is None


def test_a_token_for_another_audience_is_refused(tokens: ServiceAccountTokens) -> None:
    token, _ = tokens.issue(Claims("root", "ns", "bot", "u", audiences=("vault",)), 600)
    assert tokens.verify(token) is None
    verified = tokens.verify(token, ("vault", ISSUER))
    assert verified is not None
    assert verified.audiences == ("vault",)


def test_a_good_token_gives_back_whom_it_speaks_for(tokens: ServiceAccountTokens) -> None:
    bound = BoundObject("pod", "web-1", "uid-2")
    token, _ = tokens.issue(Claims("1abc", "default", "bot", "uid-1", bound=bound), 600)
    found = tokens.verify(token)
    assert found is not None
    assert (found.cluster, found.namespace, found.name, found.uid) == (
        "1abc",
        "default",
        "bot",
        "uid-1",
    )
    assert found.bound == bound
    assert unverified_cluster(token) == "1abc"


def test_claims_are_those_of_the_real_server(tokens: ServiceAccountTokens) -> None:
    header, payload = parts(tokens.issue(CLAIMS, 600)[0])
    assert header["alg"] == "ES256"
    assert payload["sub"] == "system:serviceaccount:default:bot"
    assert payload["aud"] == [ISSUER]
    assert payload["kubernetes.io"] == {
        "clusterName": "root",
        "namespace": "default",
        "serviceaccount": {"name": "bot", "uid": "uid-1"},
    }
    assert {"iss", "iat", "nbf", "exp", "jti"} <= payload.keys()


@given(st.text(max_size=60))
def test_no_text_whatever_raises(text: str) -> None:
    tokens = ServiceAccountTokens(KEY)
    assert tokens.verify(text) is None
    assert tokens.verify(f"{encode({})}.{text}.{text}") is None
