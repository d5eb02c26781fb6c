"""The syncer's client certificate, against a server whose signer and clock a test moves."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography import x509

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import syncer_id
from kcpctl.client.credentials import Credential
from kcpctl.embedded.schema.csr_validation import parse_request
from kcpctl.embedded.security.ca import CertificateAuthority
from kcpctl.errors import AlreadyExists, Forbidden, NotFound, NotLeading, Unauthorized
from kcpctl.syncer.certificate import CertificateUnusable, PrivateKey
from kcpctl.syncer.keeper import CertificateKeeper, NotIssued
from kcpctl.testing.clock import FakeClock

UID = "0b2f7e0e-0000-4000-8000-000000000001"
NAME = syncer_id("east", UID)
LIFE = 1000.0


class Upstream:
    """One signing request, whoever asks for it, and a signer that does as it is told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.authority = CertificateAuthority(clock=self.clock)
        self.request: Unstructured | None = None
        self.signs = True
        self.calls: list[str] = []
        self.refused: Exception | None = None
        self.unknown_issuer = False
        self.closed: list[str] = []
        self._changed = asyncio.Event()
        self._version = 0

    # What the keeper does.

    def login(self, credential: Credential | None) -> As:
        return As(self, credential)

    def put(self, request: Unstructured | None) -> None:
        self.request = request
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def create(self, obj: Unstructured) -> Unstructured:
        if self.request is not None:
            raise AlreadyExists("exists")
        self._version += 1
        made = {**obj, "metadata": {**obj["metadata"], "uid": f"u{self._version}"}}
        self.put(made)
        if self.signs:
            self.sign()
        return made

    async def until(self, done: Callable[[Unstructured | None], bool]) -> None:
        while not done(self.request):
            await self._changed.wait()

    # What a test does.

    def sign(self, authority: CertificateAuthority | None = None, request: Any = None) -> None:
        assert self.request is not None
        asked = parse_request(request or self.request["spec"]["request"])
        pem = (authority or self.authority).sign_client(asked, ["client auth"], LIFE)
        self.decide(certificate=base64.b64encode(pem).decode())

    def judge(self, type_: str, message: str = "") -> None:
        condition = {"type": type_, "status": "True", "message": message}
        self.decide(conditions=[condition])

    def decide(self, **status: Any) -> None:
        assert self.request is not None
        self.put({**self.request, "status": status})


class As:
    """The server as one identity; a Login and its SigningRequests."""

    def __init__(self, server: Upstream, credential: Credential | None) -> None:
        self._server = server
        self.who = "bootstrap" if credential is None else "certificate"
        self.requests = self

    def _enter(self, what: str) -> None:
        self._server.calls.append(f"{self.who} {what}")
        if self.who == "certificate" and self._server.refused is not None:
            raise self._server.refused

    async def get(self, name: str) -> Unstructured:
        self._enter("get")
        if self._server.request is None:
            raise NotFound(name)
        return self._server.request

    async def create(self, obj: Unstructured) -> Unstructured:
        self._enter("create")
        return self._server.create(obj)

    async def delete(self, name: str, *, uid: str | None = None) -> Unstructured:
        self._enter("delete")
        assert self._server.request is not None
        assert (name, uid) == (NAME, self._server.request["metadata"]["uid"])
        self._server.put(None)
        return {}

    async def wait_until(
        self,
        name: str,
        *conditions: Callable[[Unstructured | None], bool],
        timeout_seconds: float | None = None,
    ) -> Unstructured | None:
        self._enter("wait")
        assert (timeout_seconds is None) == (self.who == "bootstrap")
        await self._server.until(conditions[0])
        return self._server.request

    async def prove(self) -> None:
        self._enter("prove")
        if self._server.unknown_issuer:
            raise Unauthorized("who is that?")

    async def close(self) -> None:
        self._server.closed.append(self.who)


class Running:
    """A keeper at work."""

    def __init__(self, server: Upstream) -> None:
        self.server = server
        self.keeper = CertificateKeeper(
            "east",
            UID,
            seconds=LIFE,
            login=server.login,
            clock=server.clock,
            rng=random.Random(1),
        )

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        self.server.clock.step(seconds)
        await self.settle()

    def who(self) -> list[str]:
        """Who created requests, and forget it."""
        made = [call.split()[0] for call in self.server.calls if call.endswith(" create")]
        self.server.calls.clear()
        return made

    async def has(self) -> Credential:
        return await asyncio.wait_for(self.keeper.current(), 30)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    made = Running(Upstream())
    yield made
    await made.keeper.close()


async def begin(running: Running) -> Credential:
    await running.keeper.start()
    await running.settle()
    assert running.who() == ["bootstrap"]
    return await running.has()


async def ask_in_vain(running: Running) -> None:
    """Begin with a server that signs nothing by itself."""
    running.server.signs = False
    await running.keeper.start()
    await running.settle()


async def test_what_is_asked_for_is_a_login_of_this_syncer_and_no_more(running: Running) -> None:
    await begin(running)
    request = running.server.request
    assert request is not None
    spec = request["spec"]
    parsed = parse_request(spec["request"])
    assert parsed.subject.rfc4514_string() == f"CN=system:syncer:{UID},O=system:syncers"
    assert list(parsed.extensions) == []
    assert spec["signerName"] == "kubernetes.io/kube-apiserver-client"
    assert (spec["expirationSeconds"], spec["usages"]) == (
        1000,
        ["client auth", "digital signature"],
    )
    assert request["metadata"]["name"] == NAME
    assert request["metadata"]["ownerReferences"][0]["uid"] == UID


async def test_at_80_percent_of_its_life_the_certificate_renews_itself(running: Running) -> None:
    first = await begin(running)
    await running.pass_time(0.8 * LIFE - 1)
    assert running.who() == []
    assert await running.has() == first
    await running.pass_time(1)
    assert running.who() == ["certificate"]
    second = await running.has()
    assert second != first
    assert second.client_key != first.client_key  # a key is never used twice
    assert running.server.closed == ["certificate"]
    await running.pass_time(0.8 * LIFE)
    assert running.who() == ["certificate"]


async def test_a_jump_of_the_wall_clock_renews_nothing(running: Running) -> None:
    await begin(running)
    for hours in (3600, -7200):
        running.server.clock.jump(hours)
        await running.pass_time(1)
        assert running.who() == []
    await running.pass_time(0.8 * LIFE)
    assert running.who() == ["certificate"]


async def test_a_certificate_that_ended_by_our_clock_is_still_tried(running: Running) -> None:
    await ask_in_vain(running)
    running.server.sign()
    running.server.clock.jump(10 * LIFE)
    await running.settle()
    assert (await running.has()).client_cert


async def test_calls_wait_for_the_first_certificate(running: Running) -> None:
    running.server.signs = False
    await running.keeper.start()
    call = asyncio.ensure_future(running.keeper.current())
    await running.settle()
    assert not call.done()
    assert f"kubectl certificate approve {NAME}" in running.keeper.problem
    running.server.sign()
    await running.settle()
    assert call.done()
    assert running.keeper.problem == ""


async def test_a_single_pass_waits_for_no_approval_for_ever(running: Running) -> None:
    running.server.signs = False
    await running.keeper.start()
    first = asyncio.ensure_future(running.keeper.first(30))
    await running.settle()
    await running.pass_time(31)
    with pytest.raises(NotIssued, match=f"kubectl certificate approve {NAME}"):
        await first


async def test_while_a_renewal_is_not_approved_the_old_one_is_used(running: Running) -> None:
    first = await begin(running)
    running.server.signs = False
    await running.pass_time(0.8 * LIFE)
    assert await running.has() == first
    running.server.sign()
    await running.settle()
    assert await running.has() != first


@pytest.mark.parametrize("who", ["nobody", "somebody"])
async def test_a_request_that_is_removed_before_its_approval_is_made_again(
    running: Running, who: str
) -> None:
    await ask_in_vain(running)
    running.server.put(None)
    if who == "somebody":  # in its place there is another one
        running.server.create({"metadata": {}, "spec": {}})
    running.who()
    await running.settle()
    running.server.signs = True
    await running.pass_time(1)
    assert running.who() == ["bootstrap"]
    await running.has()


async def test_a_request_of_an_earlier_life_is_replaced(running: Running) -> None:
    running.server.signs = False
    running.server.create({"metadata": {}, "spec": {}})
    running.server.signs = True
    await begin(running)


async def test_a_denied_request_is_left_until_somebody_deletes_it(running: Running) -> None:
    await ask_in_vain(running)
    running.server.judge("Denied", "not on my watch")
    await running.settle()
    running.who()
    for _ in range(20):
        await running.pass_time(600)
    assert running.who() == []
    assert "is Denied: not on my watch; delete it" in running.keeper.problem
    running.server.signs = True
    running.server.put(None)
    await running.settle()
    await running.pass_time(60)
    assert running.who() == ["bootstrap"]
    await running.has()


async def test_a_denial_outlives_the_process(running: Running) -> None:
    running.server.signs = False
    running.server.create({"metadata": {}, "spec": {}})
    running.server.judge("Denied")
    await running.keeper.start()
    for _ in range(5):
        await running.pass_time(600)
    assert running.who() == []


async def test_what_the_signer_could_not_sign_is_asked_for_again(running: Running) -> None:
    await ask_in_vain(running)
    running.server.judge("Failed", "no")
    running.who()
    await running.settle()
    assert "is Failed: no" in running.keeper.problem
    running.server.signs = True
    await running.pass_time(1)
    assert running.who() == ["bootstrap"]
    await running.has()


async def test_a_certificate_of_another_key_is_not_used(running: Running) -> None:
    await ask_in_vain(running)
    other = PrivateKey().request(f"system:syncer:{UID}")
    running.server.sign(request=base64.b64encode(other).decode())
    await running.settle()
    assert "is of another key" in running.keeper.problem
    running.server.signs = True
    await running.pass_time(1)
    await running.has()


def test_a_certificate_of_another_name_is_not_used() -> None:
    key = PrivateKey()
    asked = x509.load_pem_x509_csr(key.request("system:syncer:other"))
    pem = CertificateAuthority().sign_client(asked, [], LIFE)
    with pytest.raises(CertificateUnusable, match="and not 'system:syncer:mine'"):
        key.accept(base64.b64encode(pem).decode(), "system:syncer:mine", 0)


async def test_a_certificate_that_the_server_refuses_replaces_nothing(running: Running) -> None:
    first = await begin(running)
    running.server.unknown_issuer = True
    await running.pass_time(0.8 * LIFE)
    assert "the server refuses the certificate" in running.keeper.problem
    assert await running.has() == first
    running.server.unknown_issuer = False
    await running.pass_time(2)
    assert await running.has() != first


async def test_a_refused_call_waits_for_the_next_certificate(running: Running) -> None:
    """It ended while the machine slept: the next one comes by the first login again."""
    first = await begin(running)
    assert await asyncio.wait_for(running.keeper.renew(first), 30)
    assert running.who() == ["bootstrap"]
    assert await running.has() != first
    assert await running.keeper.renew(first)  # another call that was under way
    assert running.who() == []


async def test_many_refused_calls_ask_for_one_certificate(running: Running) -> None:
    first = await begin(running)
    calls = [asyncio.ensure_future(running.keeper.renew(first)) for _ in range(3)]
    running.server.signs = False
    await running.settle()
    late = asyncio.ensure_future(running.keeper.renew(first))
    await running.settle()
    running.server.sign()
    assert await asyncio.gather(*calls, late) == [True] * 4
    await running.settle()
    assert running.who() == ["bootstrap"]


async def test_a_refused_call_does_not_wait_for_ever(running: Running) -> None:
    first = await begin(running)
    running.server.signs = False
    call = asyncio.ensure_future(running.keeper.renew(first))
    await running.settle()
    await running.pass_time(10)
    assert await call is False


async def test_after_its_end_it_is_asked_for_by_the_first_login(running: Running) -> None:
    await begin(running)
    running.server.refused = Unauthorized("certificate has expired")
    running.server.signs = False
    await running.pass_time(0.8 * LIFE)
    assert running.who() == []
    running.server.refused = None
    running.server.signs = True
    await running.pass_time(0.3 * LIFE)
    assert running.who() == ["bootstrap"]


async def test_what_fails_is_tried_again_and_logged_once(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    def forbidden(obj: Unstructured) -> Unstructured:
        raise Forbidden("you may not")

    create, running.server.create = running.server.create, forbidden  # type: ignore[method-assign]
    await running.keeper.start()
    for _ in range(10):
        await running.pass_time(60)
    assert caplog.text.count("No client certificate") == 1
    running.server.create = create  # type: ignore[method-assign]
    await running.pass_time(60)
    await running.has()


async def test_one_that_stands_by_asks_as_soon_as_it_leads_and_says_nothing_before(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(obj: Unstructured) -> Unstructured:
        raise NotLeading("not sent")

    create, running.server.create = running.server.create, refused  # type: ignore[method-assign]
    await running.keeper.start()
    for _ in range(100):
        await running.pass_time(1)
    assert caplog.text == ""
    running.server.create = create  # type: ignore[method-assign]
    await running.pass_time(1)
    await running.has()


def test_a_key_is_never_shown() -> None:
    key = PrivateKey()
    assert "PRIVATE" not in repr(key)
    assert repr(Credential(client_key=b"secret")).count("secret") == 0
