"""Approving the client certificates of syncers: exactly those of the identity that was deployed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kcpctl.apis.conditions import TRUE
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import SYNCTARGET_UID_LABEL, syncer_id
from kcpctl.apis.resource import CERTIFICATE_SIGNING_REQUESTS, SERVICE_ACCOUNTS
from kcpctl.apis.signing import (
    CLIENT_SIGNER,
    LONGEST_CERTIFICATE_SECONDS,
    SYNCER_USAGES,
    SYNCERS_GROUP,
    RequestState,
    state_of,
    syncer_user,
)
from kcpctl.apis.workload import SyncTarget
from kcpctl.client import Client
from kcpctl.controller.by_key import ByKey
from kcpctl.errors import Conflict, Forbidden, NotFound
from kcpctl.logicalcluster import key_of
from kcpctl.reconcilers.credentials import Cache
from kcpctl.reconcilers.synctarget.certificate import Signing
from kcpctl.reconcilers.synctarget.manifests import FIELD_MANAGER
from kcpctl.runtime import Clock, format_time, get_logger

__all__ = ["Approver", "not_ours"]

_log = get_logger(__name__)

# A signer takes a second; what it takes longer than this for, nobody signs.
_SIGNER_SECONDS: Final = 60.0
# Rights that a controller lacks may be given to it at any time, and nothing tells.
_ASK_AGAIN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """A request, since when it is there, and until when a refusal of our approval holds."""

    uid: str
    since: float
    refusal: str = ""
    refused_until: float = 0.0


class Approver:
    """Looks at the signing request of each SyncTarget's syncer, and approves what is right.

    A request that asks for anything but the identity of that very syncer, or that anybody else has
    made, is left alone: for people to judge. Where the controllers may not approve, it is tried
    again each minute. Raises what the client raises, apart from a refusal. Worker threads; one
    key at a time.
    """

    def __init__(self, requests: Cache, *, namespace: str, clock: Clock) -> None:
        self._requests = requests
        self._namespace = namespace
        self._clock = clock
        self._seen: ByKey[_Seen] = ByKey()

    def look(self, key: str, target: SyncTarget, cluster: str, upstream: Client) -> Signing:
        """Approve the request of the target's syncer if that is due, and say how far it is."""
        name = syncer_id(target.metadata.name, target.metadata.uid)
        found = self._requests.cached(key_of(cluster, "", name))
        if found is None:
            self.forget(key)
            return Signing(name)
        request: Unstructured = found.decode()
        state, message = state_of(request)
        seen = self._since(key, request["metadata"]["uid"])
        if state is RequestState.PENDING:
            problem = self._approve(key, seen, request, target, upstream)
            if problem:
                return Signing(name, state, problem=problem, again_in_seconds=_ASK_AGAIN_SECONDS)
            state = RequestState.APPROVED
        if state is RequestState.APPROVED:
            left = seen.since + _SIGNER_SECONDS - self._clock.monotonic()
            return Signing(
                name, state, overdue=left <= 0, again_in_seconds=left if left > 0 else None
            )
        return Signing(name, state, message)

    def forget(self, key: str) -> None:
        """Drop what is known of a key."""
        self._seen.forget(key)

    def remove(self, belongs: Callable[[str], bool]) -> None:
        """Drop what is known of all keys that belong."""
        self._seen.remove(belongs)

    def _since(self, key: str, uid: str) -> _Seen:
        seen = self._seen.get(key)
        if seen is not None and seen.uid == uid:
            return seen
        return self._seen.keep(key, _Seen(uid, self._clock.monotonic()))

    def _approve(
        self, key: str, seen: _Seen, request: Unstructured, target: SyncTarget, upstream: Client
    ) -> str:
        """Approve, or return why not."""
        name = request["metadata"]["name"]
        if reason := not_ours(request, target.metadata.uid, self._namespace):
            return f"it is not approved by itself: {reason}"
        if self._clock.monotonic() < seen.refused_until:
            return seen.refusal
        try:
            if reason := self._no_identity(request, target, upstream):
                return f"it is not approved by itself: {reason}"
            upstream.resource(CERTIFICATE_SIGNING_REQUESTS).update(
                _approved(request, self._clock.time()),
                subresource="approval",
                field_manager=FIELD_MANAGER,
            )
        except Forbidden as error:
            return self._refused(key, seen, f"the controllers may not approve it: {error.message}")
        except (Conflict, NotFound):
            return ""  # it has changed or gone meanwhile: the event of that brings it up again
        _log.info("Approved a syncer's certificate", name=name, requester=_requester(request))
        return ""

    def _refused(self, key: str, seen: _Seen, refusal: str) -> str:
        until = self._clock.monotonic() + _ASK_AGAIN_SECONDS
        self._seen.keep(key, _Seen(seen.uid, seen.since, refusal, until))
        return refusal

    def _no_identity(self, request: Unstructured, target: SyncTarget, upstream: Client) -> str:
        """Look whether the service account that was made for this syncer is there, and asks."""
        name = request["metadata"]["name"]
        where = f"ServiceAccount {self._namespace}/{name}"
        try:
            account = upstream.resource(SERVICE_ACCOUNTS).get(name, namespace=self._namespace)
        except NotFound:
            return f"there is no {where}"
        labels = account["metadata"].get("labels") or {}
        if labels.get(SYNCTARGET_UID_LABEL) != target.metadata.uid:
            return f"{where} was not made for this SyncTarget"
        spec = request["spec"]
        by_account = spec.get("username") != syncer_user(target.metadata.uid)
        if by_account and spec.get("uid") != account["metadata"]["uid"]:
            return f"{where} is another one than the one that asks"
        return ""


def not_ours(request: Mapping[str, Any], uid: str, namespace: str) -> str:
    """Return why a request is not what the syncer of the SyncTarget ``uid`` asks for, or ""."""
    return next(_differences(request, uid, namespace), "")


def _differences(request: Mapping[str, Any], uid: str, namespace: str) -> Iterator[str]:
    spec = request["spec"]
    user = syncer_user(uid)
    account = f"system:serviceaccount:{namespace}:{request['metadata']['name']}"
    requester = spec.get("username", "")
    renews = requester == user and SYNCERS_GROUP in (spec.get("groups") or ())
    if requester != account and not renews:
        yield f"{requester!r} has made it, and not the syncer"
    if spec.get("signerName") != CLIENT_SIGNER:
        yield f"it is for the signer {spec.get('signerName')!r}"
    if sorted(spec.get("usages") or ()) != sorted(SYNCER_USAGES):
        yield f"it asks for the usages {', '.join(spec.get('usages') or ())}"
    seconds = spec.get("expirationSeconds")
    if seconds is None or seconds > LONGEST_CERTIFICATE_SECONDS:
        yield f"it asks for {'any' if seconds is None else f'{seconds}s of'} life"
    yield from _strange_subject(spec.get("request", ""), user)


def _strange_subject(encoded: str, user: str) -> Iterator[str]:
    from cryptography import x509

    try:
        asked = x509.load_pem_x509_csr(base64.b64decode(encoded))
        names = [(one.oid, str(one.value)) for one in asked.subject]
        extensions = list(asked.extensions)
    except ValueError as error:
        yield f"it cannot be read: {error}"
        return
    wanted = {(x509.NameOID.COMMON_NAME, user), (x509.NameOID.ORGANIZATION_NAME, SYNCERS_GROUP)}
    if len(names) != len(wanted) or set(names) != wanted:
        yield f"it asks to be {asked.subject.rfc4514_string()!r}"
    if extensions:
        yield "it asks for other names"


def _requester(request: Mapping[str, Any]) -> str:
    return str(request["spec"].get("username", ""))


def _approved(request: Unstructured, now: float) -> Unstructured:
    """Return the very version that was looked at, with the approval."""
    status = request.get("status") or {}
    approval = {
        "type": RequestState.APPROVED.value,
        "status": TRUE,
        "reason": "SyncerDeployed",
        "message": "It is what the syncer asks for that was deployed for its SyncTarget",
        "lastUpdateTime": format_time(now),
    }
    return {
        **request,
        "apiVersion": CERTIFICATE_SIGNING_REQUESTS.api_version,
        "kind": CERTIFICATE_SIGNING_REQUESTS.kind,
        "status": {**status, "conditions": [*(status.get("conditions") or ()), approval]},
    }
