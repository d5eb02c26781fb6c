"""The syncer's client certificate: asked for, waited for, and renewed while it is good."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import syncer_id
from kcpctl.apis.signing import RequestState, state_of, syncer_user
from kcpctl.client.credentials import Credential
from kcpctl.client.failures import ClientCertificateRefused
from kcpctl.errors import Conflict, KcpctlError, NotFound, NotLeading, Unauthorized
from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, Backoff, Clock, TaskSet, get_logger
from kcpctl.syncer.certificate import CertificateUnusable, Issued, PrivateKey, request_object

__all__ = ["CertificateKeeper", "Login", "NotIssued", "SigningRequests"]

_log = get_logger(__name__)

_RENEW_AT: Final = 0.8
_FIRST_RETRY_SECONDS: Final = 1.0
_LAST_RETRY_SECONDS: Final = 60.0
_STANDBY_SECONDS: Final = 1.0
# How long a call whose certificate was refused waits for the next one: an approval that nobody
# has to give by hand takes less than a second.
_PATIENCE_SECONDS: Final = 10.0


class NotIssued(KcpctlError):
    """There is no certificate; the message says what it takes."""


class SigningRequests(Protocol):
    """What the keeper needs of the CertificateSigningRequests' async client."""

    async def get(self, name: str) -> Unstructured:
        """Read one; raises NotFound."""

    async def create(self, obj: Unstructured) -> Unstructured:
        """Make one; raises AlreadyExists."""

    async def delete(self, name: str, *, uid: str | None = None) -> Unstructured:
        """Delete exactly that one; raises NotFound and Conflict."""

    async def wait_until(
        self,
        name: str,
        *conditions: Callable[[Unstructured | None], bool],
        timeout_seconds: float | None = None,
    ) -> Unstructured | None:
        """Watch one until the conditions hold; raises ConditionTimeout."""


class Login(Protocol):
    """The upstream server as somebody."""

    @property
    def requests(self) -> SigningRequests:
        """The signing requests of the workspace."""

    async def prove(self) -> None:
        """Raise unless the server takes this identity."""

    async def close(self) -> None:
        """End every connection."""


@dataclass(frozen=True, slots=True)
class _Asked:
    uid: str
    key: PrivateKey


class CertificateKeeper:
    """A :class:`kcpctl.client.credentials.Credentials` of a certificate that it renews itself.

    The key is made here, for each request another one, and never leaves the process. The first
    request is made as whoever ``login(None)`` is, which need be allowed no more than that; the
    next ones as the certificate itself, at 80 % of its life. A new certificate is tried before it
    takes the place of the old one, so no call ever goes out with one that the server refuses.
    Until there is a first one, calls wait for it.

    When the certificate is refused all the same (it ended while the machine slept, the server has
    another CA), the next one is asked for at once by ``login(None)`` again, and the refused call
    waits for that for a while. A request that somebody has denied is left for them to delete: only
    then there is another. One that went away, failed, or was signed for another key is made again.

    Everything happens on the I/O loop. ``close`` ends the requests and the logins.
    """

    def __init__(
        self,
        sync_target_name: str,
        sync_target_uid: str,
        *,
        seconds: float,
        login: Callable[[Credential | None], Login],
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
    ) -> None:
        self._target = (sync_target_name, sync_target_uid)
        self._user = syncer_user(sync_target_uid)
        self._seconds = seconds
        self._make_login = login
        self._clock = clock
        self._bootstrap = login(None)
        self._own: Login | None = None
        self._issued: Issued | None = None
        self._ends_at = 0.0  # on the clock that goes on while the machine sleeps
        self._refused = False
        self._asked: _Asked | None = None
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS, clock=clock, rng=rng)
        self._tasks = TaskSet("certificate")
        self.name = syncer_id(*self._target)
        self.problem = ""
        self.rotations = 0

    # Credentials.

    async def current(self) -> Credential:
        """Return the certificate, waiting for the first one."""
        while self._issued is None:
            await self._changed.wait()
        if self._clock.boottime() >= self._ends_at:
            self._wake.set()
        return self._issued.credential

    async def renew(self, rejected: Credential) -> bool:
        """Have a refused certificate replaced, and wait for that a while."""
        if self._issued is not None and self._issued.credential == rejected:
            self._refused = True
            self._wake.set()
            await self._either(self._changed, _PATIENCE_SECONDS)
        return self._issued is not None and self._issued.credential != rejected

    # The life of a keeper.

    async def start(self) -> None:
        """Begin to ask."""
        self._tasks.spawn(self._run(), name="keeper")

    async def first(self, timeout_seconds: float) -> None:
        """Wait for the first certificate; raises NotIssued."""
        if self._issued is None:
            await self._either(self._changed, timeout_seconds)
        if self._issued is None:
            raise NotIssued(
                f"no client certificate within {timeout_seconds:g}s: "
                f"{self.problem or 'the server does not answer'}"
            )

    async def close(self) -> None:
        """End it."""
        await self._tasks.close()
        await self._bootstrap.close()
        if self._own is not None:
            await self._own.close()

    async def _run(self) -> None:
        """Ask, and ask again at 80 % of each certificate's life; until cancelled."""
        while True:
            self._wake.clear()
            try:
                rest = await self._next()
            except NotLeading:
                rest = _STANDBY_SECONDS  # another one works; this one has to be quick after it
            except Exception as error:  # noqa: BLE001 - without it the syncer would end with its certificate
                self._report(error)
                rest = self._backoff.next()
            await self._either(self._wake, rest)

    async def _next(self) -> float:
        """Get another certificate and return when the one after it is due."""
        login = self._login()
        try:
            issued = await self._ask(login)
        except (Unauthorized, ClientCertificateRefused):
            self._refused = True
            raise
        await self._take(issued)
        self._backoff.reset()
        return _RENEW_AT * issued.life_seconds

    def _login(self) -> Login:
        good = not self._refused and self._clock.boottime() < self._ends_at
        return self._own if self._own is not None and good else self._bootstrap

    async def _ask(self, login: Login) -> Issued:
        requests = login.requests
        asked = self._asked = await self._request(requests)
        seen: list[Unstructured | None] = []

        def decided(found: Unstructured | None) -> bool:
            seen[:] = [found]
            waits = (RequestState.PENDING, RequestState.APPROVED)
            return found is None or not _is(found, asked) or state_of(found)[0] not in waits

        # A watch by a certificate that has ended might be opened in vain for ever.
        left = None if login is self._bootstrap else self._ends_at - self._clock.boottime()
        await requests.wait_until(self.name, decided, timeout_seconds=left)
        found = seen[0]
        if found is None or not _is(found, asked):
            self._asked = None
            raise NotIssued(f"CertificateSigningRequest {self.name!r} was removed; asking again")
        state, message = state_of(found)
        if state is not RequestState.ISSUED:
            self._asked = None
            raise NotIssued(f"CertificateSigningRequest {self.name!r} is {state.value}: {message}")
        try:
            encoded = found["status"]["certificate"]
            return asked.key.accept(encoded, self._user, self._clock.time())
        except CertificateUnusable:
            self._asked = None
            raise

    async def _request(self, requests: SigningRequests) -> _Asked:
        """Return the request that is under way, made if there is none of ours."""
        try:
            found = await requests.get(self.name)
        except NotFound:
            found = None
        if found is not None and self._asked is not None and _is(found, self._asked):
            return self._asked
        if found is not None:
            await self._remove(requests, found)
        key = PrivateKey()
        made = await requests.create(request_object(key, *self._target, self._seconds))
        self.problem = (
            f"CertificateSigningRequest {self.name!r} is not approved and signed yet: "
            f"kubectl certificate approve {self.name}"
        )
        _log.info("Asked for a client certificate, to be approved", name=self.name)
        return _Asked(made["metadata"]["uid"], key)

    async def _remove(self, requests: SigningRequests, found: Unstructured) -> None:
        """Make room for a request: what is there is of a key that nobody has any more.

        Except for one that was denied: whoever did that is not to be asked again and again.
        """
        uid = found["metadata"]["uid"]
        state, message = state_of(found)
        if state is RequestState.DENIED:
            self._report(
                NotIssued(
                    f"CertificateSigningRequest {self.name!r} is Denied: {message}; delete it to "
                    "be asked again"
                )
            )
            await requests.wait_until(
                self.name, lambda now: now is None or now["metadata"]["uid"] != uid
            )
            raise NotIssued(f"the denied CertificateSigningRequest {self.name!r} was removed")
        with contextlib.suppress(NotFound, Conflict):
            await requests.delete(self.name, uid=uid)

    async def _take(self, issued: Issued) -> None:
        """Try a certificate, then put it in place of the one before."""
        login = self._make_login(issued.credential)
        try:
            await login.prove()
        except BaseException as error:
            await login.close()
            if isinstance(error, Unauthorized | ClientCertificateRefused):
                self._asked = None
                raise NotIssued(f"the server refuses the certificate: {error}") from error
            raise
        before, self._own = self._own, login
        self._issued, self._refused, self._asked = issued, False, None
        self._wake.clear()  # whoever was refused meanwhile has what it asked for
        self._ends_at = self._clock.boottime() + issued.life_seconds
        self.rotations += 1
        self.problem = ""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        _log.info("Got a client certificate", name=self.name, life_seconds=issued.life_seconds)
        if before is not None:
            await before.close()

    def _report(self, error: Exception) -> None:
        """Log a problem once."""
        if str(error) != self.problem:
            bug = None if isinstance(error, KcpctlError) else error
            _log.warning("No client certificate", name=self.name, error=error, exc_info=bug)
        self.problem = str(error)

    async def _either(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until something happens or the time is over."""
        waits: tuple[Coroutine[Any, Any, Any], ...] = (event.wait(), self._clock.asleep(seconds))
        tasks = [self._tasks.spawn(wait, name="wait") for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()


def _is(found: Unstructured, asked: _Asked) -> bool:
    return bool(found["metadata"]["uid"] == asked.uid)
