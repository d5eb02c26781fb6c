"""Signing what was approved, and removing signing requests that nobody needs any more."""

from __future__ import annotations

import base64
from typing import Any, Final

from kcpctl.embedded.controllers.keyed import MANAGER, KeyedController
from kcpctl.embedded.registry import Event, Registry
from kcpctl.embedded.schema.csr_validation import parse_request
from kcpctl.embedded.security.admission import CLIENT_SIGNER
from kcpctl.embedded.security.ca import CertificateAuthority
from kcpctl.embedded.status import StatusError
from kcpctl.runtime import SYSTEM_CLOCK, Clock, format_time, parse_time

__all__ = ["DEFAULT_SIGNING_SECONDS", "SigningController"]

Json = dict[str, Any]
_Key = tuple[str, str]

DEFAULT_SIGNING_SECONDS: Final = 365 * 86_400.0
"""Longest life of a certificate, as kube-controller-manager has it."""
_GROUP: Final = "certificates.k8s.io"
_PLURAL: Final = "certificatesigningrequests"
_CLIENT_USAGES: Final = ("client auth", "digital signature", "key encipherment")
# When kube-controller-manager takes requests away, counted from their last step.
_JUDGED_SECONDS: Final = 3600.0
_PENDING_SECONDS: Final = 86_400.0


class SigningController(KeyedController[_Key]):
    """Signs approved requests for the signer of client certificates, with the server's own CA.

    In a server with workspaces a certificate is good in the logical cluster of its request only:
    whoever may approve in one workspace must not become somebody in another. Requests for other
    signers are left alone. A request is removed an hour after it was decided, or after a day
    without a decision. Event loop's thread only.
    """

    def __init__(
        self,
        registry: Registry,
        authority: CertificateAuthority,
        *,
        longest_seconds: float = DEFAULT_SIGNING_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__("signing", registry, clock=clock)
        self._authority = authority
        self._longest_seconds = longest_seconds

    def _changed(self, event: Event) -> None:
        if (event.info.group, event.info.plural) == (_GROUP, _PLURAL) and event.type != "DELETED":
            self._loop.add((event.cluster, event.name))

    def reconcile(self, key: _Key) -> float | None:
        """Sign one request if that is due, or remove it; return when to look again."""
        cluster, name = key
        try:
            info = self._registry.info(cluster, _GROUP, "v1", _PLURAL)
        except StatusError:  # the logical cluster is gone
            return None
        request = self._registry.find(info, cluster, "", name)
        if request is None:
            return None
        status = self._decided(request, cluster)
        if status is not None:
            signed = {**request, "status": status}
            self._registry.update(
                info, cluster, signed, subresource="status", field_manager=MANAGER
            )
            return None  # the event of that write brings it back
        left = self._seconds_left(request)
        if left > 0:
            return left
        self._registry.delete(info, cluster, "", name)
        return None

    def _decided(self, request: Json, cluster: str) -> Json | None:
        """Return the status with a certificate or a failure, None if there is nothing to do."""
        spec, status = request["spec"], request.get("status") or {}
        conditions = status.get("conditions") or []
        types = {one["type"] for one in conditions}
        if spec["signerName"] != CLIENT_SIGNER or status.get("certificate"):
            return None
        if "Approved" not in types or "Failed" in types:
            return None
        usages = spec.get("usages") or ()
        if problem := _usage_problem(usages):
            failed = {
                "type": "Failed",
                "status": "True",
                "reason": "SignerValidationFailure",
                "message": problem,
                "lastUpdateTime": format_time(self._clock.time()),
            }
            return {**status, "conditions": [*conditions, failed]}
        seconds = spec.get("expirationSeconds") or self._longest_seconds
        pem = self._authority.sign_client(
            parse_request(spec["request"]),
            usages,
            min(seconds, self._longest_seconds),
            cluster=cluster if self._registry.workspaces else None,
        )
        return {**status, "certificate": base64.b64encode(pem).decode()}

    def _seconds_left(self, request: Json) -> float:
        conditions = (request.get("status") or {}).get("conditions") or ()
        times = [
            parse_time(one["lastUpdateTime"]) for one in conditions if one.get("lastUpdateTime")
        ]
        created = parse_time(request["metadata"]["creationTimestamp"])
        ends = max(times) + _JUDGED_SECONDS if times else created + _PENDING_SECONDS
        return ends - self._clock.time()


def _usage_problem(usages: Any) -> str:
    for usage in usages:
        if usage not in _CLIENT_USAGES:
            return f"invalid usage for client certificate: {usage}"
    if _CLIENT_USAGES[0] not in usages:
        return f"missing required usage for client certificate: {_CLIENT_USAGES[0]}"
    return ""
