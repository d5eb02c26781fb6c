"""What a user may write: the rules that go beyond the right to the request itself."""

from __future__ import annotations

from typing import Any, Final

from cryptography.x509.oid import NameOID

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.schema.csr_validation import parse_request
from kcpctl.embedded.security.escalation import check_escalation
from kcpctl.embedded.security.exports import check_exports
from kcpctl.embedded.security.rbac import Authorizer
from kcpctl.embedded.status import forbidden
from kcpctl.embedded.user import MASTERS, Attributes, UserInfo

__all__ = ["CLIENT_SIGNER", "Admission"]

Json = dict[str, Any]

CLIENT_SIGNER: Final = "kubernetes.io/kube-apiserver-client"
"""The signer whose certificates log in here."""
_SIGNING_REQUESTS: Final = "certificatesigningrequests.certificates.k8s.io"


class Admission:
    """An ``http.context.AdmissionCheck``: RBAC objects, what workspaces export, signing requests.

    A signing request is told who made it. Its approval needs the verb ``approve`` on the resource
    ``signers`` with the signer's name (or ``<domain>/*``), a change of its conditions or
    certificate the verb ``sign``; and nobody gets a certificate for the group
    ``system:masters``. Event loop's thread only.
    """

    def __init__(self, registry: Registry, authorizer: Authorizer) -> None:
        self._registry = registry
        self._authorizer = authorizer

    def __call__(
        self,
        user: UserInfo,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        obj: Json,
        subresource: str,
    ) -> None:
        """Raise 403, or let the object pass."""
        if info.storage_key == _SIGNING_REQUESTS:
            self._signing_request(user, info, cluster, obj, subresource)
        elif not subresource:
            write = (user, info, cluster, namespace, obj)
            check_escalation(self._registry, self._authorizer, *write)
            check_exports(self._registry, self._authorizer, *write)

    def _signing_request(
        self, user: UserInfo, info: ResourceInfo, cluster: str, obj: Json, subresource: str
    ) -> None:
        name = obj["metadata"].get("name", "")
        old = self._registry.find(info, cluster, "", name)
        if old is None:
            obj["spec"] = _by(user, obj.get("spec") or {})
            if _asks_for_masters(obj["spec"]):
                raise forbidden(
                    info,
                    name,
                    f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed",
                )
            return
        signer = old["spec"]["signerName"]
        status, before = obj.get("status") or {}, old.get("status") or {}
        written = ("certificate", "conditions")
        if subresource == "approval":
            verb = "approve"
        elif subresource == "status" and any(status.get(f) != before.get(f) for f in written):
            verb = "sign"
        else:
            return
        if not self._may(user, verb, signer, cluster):
            detail = f'user not permitted to {verb} requests with signerName "{signer}"'
            raise forbidden(info, name, detail)

    def _may(self, user: UserInfo, verb: str, signer: str, cluster: str) -> bool:
        names = (signer, f"{signer.partition('/')[0]}/*")
        return any(
            self._authorizer.authorize(
                user,
                Attributes(
                    verb,
                    group="certificates.k8s.io",
                    version="*",
                    resource="signers",
                    name=name,
                    cluster=cluster,
                ),
            ).allowed
            for name in names
        )


def _by(user: UserInfo, spec: Json) -> Json:
    """Return the spec of a new request with who made it, whatever it said of that."""
    who: Json = {"username": user.username, "uid": user.uid, "groups": list(user.groups)}
    who["extra"] = {key: list(values) for key, values in user.extra.items()}
    others = {key: value for key, value in spec.items() if key not in who}
    return {**others, **{key: value for key, value in who.items() if value}}


def _asks_for_masters(spec: Json) -> bool:
    if spec.get("signerName") != CLIENT_SIGNER:
        return False
    try:
        subject = parse_request(spec.get("request")).subject
    except ValueError:
        return False  # validation has better words for it
    groups = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return any(group.value == MASTERS for group in groups)
