"""Authentication: client certificates, ServiceAccount tokens, anonymous, and impersonation."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from kcpctl.embedded.registry import Registry
from kcpctl.embedded.security.rbac import FOREIGN_IDENTITY, Authorizer
from kcpctl.embedded.security.tokens import (
    ISSUER,
    Claims,
    ServiceAccountTokens,
    unverified_cluster,
)
from kcpctl.embedded.status import StatusError, bad_request, forbidden, unauthorized
from kcpctl.embedded.user import ANONYMOUS, Attributes, UserInfo
from kcpctl.logicalcluster import ROOT

__all__ = ["Authenticator", "service_account_user"]

AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"
_CREDENTIAL_ID: Final = "authentication.kubernetes.io/credential-id"
_AUTHN_GROUP: Final = "authentication.k8s.io"
_ACCOUNT_PREFIX: Final = "system:serviceaccount:"


class Authenticator:
    """Tells who asks.

    A client certificate names the user (CN) and groups (O); one that was signed in a logical
    cluster names nobody in the others. A ServiceAccount token is good while the ServiceAccount,
    and the Pod it is bound to, exist with the uids in the token; outside its own logical cluster
    its bearer is ``system:anonymous`` in the groups ``system:authenticated`` and
    ``system:cluster:<its cluster>``, and rules there may name it as the user
    ``system:kcp:serviceaccount:<cluster>:<namespace>:<name>``. Event loop's thread only.
    """

    def __init__(
        self, registry: Registry, authorizer: Authorizer, tokens: ServiceAccountTokens
    ) -> None:
        self._registry = registry
        self._authorizer = authorizer
        self._tokens = tokens

    def authenticate(
        self,
        peer_cert: bytes | None,
        authorization: str | None,
        headers: Mapping[str, str],
        cluster: str | None,
    ) -> UserInfo:
        """Return the user, impersonated or not; see the Protocol in ``http.context``."""
        user = self._user(peer_cert, authorization, cluster)
        return self._impersonated(user, headers, cluster or ROOT)

    def token_cluster(self, authorization: str | None) -> str | None:
        """Return the logical cluster that a ServiceAccount token names, without verifying it."""
        token = _bearer_token(authorization)
        return unverified_cluster(token) if token else None

    def verify_token(
        self, token: str, cluster: str | None, audiences: tuple[str, ...] = (ISSUER,)
    ) -> tuple[UserInfo, tuple[str, ...]] | None:
        """Return the user and the accepted audiences; None when the token is not good."""
        claims = self._tokens.verify(token, audiences)
        if claims is None or not self._alive(claims):
            return None
        user = service_account_user(claims)
        if cluster is not None and cluster != claims.cluster:
            user = _foreign_user(claims)
        return user, claims.audiences

    def _user(
        self, peer_cert: bytes | None, authorization: str | None, cluster: str | None
    ) -> UserInfo:
        if peer_cert is not None:
            return self._of_certificate(peer_cert, cluster or ROOT)
        token = _bearer_token(authorization)
        if token is None:
            return ANONYMOUS
        verified = self.verify_token(token, cluster)
        if verified is None:
            raise unauthorized()
        return verified[0]

    def _of_certificate(self, der: bytes, cluster: str) -> UserInfo:
        found = _identity(der)
        # A connection may last longer than what it was opened with.
        if found.ends < self._registry.backend.clock.time():
            raise unauthorized()
        if found.cluster is not None and found.cluster != cluster:
            return UserInfo(
                ANONYMOUS.username, groups=(AUTHENTICATED, f"system:cluster:{found.cluster}")
            )
        return found.user

    def _alive(self, claims: Claims) -> bool:
        """Whether the ServiceAccount and what the token is bound to still exist."""
        if not self._exists(claims.cluster, "serviceaccounts", claims, claims.name, claims.uid):
            return False
        bound = claims.bound
        return bound is None or self._exists(
            claims.cluster, f"{bound.kind}s", claims, bound.name, bound.uid
        )

    def _exists(self, cluster: str, plural: str, claims: Claims, name: str, uid: str) -> bool:
        try:
            info = self._registry.info(cluster, "", "v1", plural)
            found = self._registry.find(info, cluster, claims.namespace, name)
        except StatusError:  # the logical cluster is gone
            return False
        return found is not None and found["metadata"]["uid"] == uid

    def _impersonated(self, user: UserInfo, headers: Mapping[str, str], cluster: str) -> UserInfo:
        wanted = _Impersonation(headers)
        if not wanted.asked:
            return user
        if not wanted.username:
            raise bad_request(f"requested {wanted.describe()} without impersonating a user name")
        for attributes in wanted.rights_needed(cluster):
            if not self._authorizer.authorize(user, attributes).allowed:
                raise _refused(user, attributes)
        return wanted.user()


class _Impersonation:
    """The Impersonate-* headers of one request."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.username = ""
        self._uid = ""
        self._groups: list[str] = []
        self._extra: dict[str, list[str]] = {}
        for name, value in _pairs(headers):
            lowered = name.lower()
            if lowered == "impersonate-user":
                self.username = value
            elif lowered == "impersonate-uid":
                self._uid = value
            elif lowered == "impersonate-group":
                self._groups.append(value)
            elif lowered.startswith("impersonate-extra-"):
                key = unquote(lowered.removeprefix("impersonate-extra-"))
                self._extra.setdefault(key, []).append(value)

    @property
    def asked(self) -> bool:
        return bool(self.username or self._uid or self._groups or self._extra)

    def describe(self) -> str:
        """What the caller asked for, in the words of the real server."""
        groups = ", ".join(f'"{group}"' for group in self._groups)
        extra = "".join(
            f'"{key}":[]string{{{", ".join(f"{chr(34)}{v}{chr(34)}" for v in values)}}}'
            for key, values in self._extra.items()
        )
        return (
            f'&user.DefaultInfo{{Name:"", UID:"{self._uid}", Groups:[]string'
            f"{f'{{{groups}}}' if groups else '(nil)'}, Extra:map[string][]string"
            f"{f'{{{extra}}}' if extra else '(nil)'}}}"
        )

    def rights_needed(self, cluster: str) -> Iterator[Attributes]:
        """Yield what the caller must be allowed to do."""
        account = _split_account(self.username)
        if account:
            yield Attributes(
                "impersonate",
                version="v1",
                resource="serviceaccounts",
                namespace=account[0],
                name=account[1],
                cluster=cluster,
            )
        else:
            yield _right("", "users", self.username, cluster)
        if self._uid:
            yield _right(_AUTHN_GROUP, "uids", self._uid, cluster)
        for group in self._groups:
            yield _right("", "groups", group, cluster)
        for key, values in self._extra.items():
            for value in values:
                yield _right(_AUTHN_GROUP, "userextras", value, cluster, subresource=key)

    def user(self) -> UserInfo:
        groups = list(self._groups)
        account = _split_account(self.username)
        if not groups and account:
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
        if AUTHENTICATED not in groups and UNAUTHENTICATED not in groups:
            anonymous = self.username == ANONYMOUS.username
            groups.append(UNAUTHENTICATED if anonymous else AUTHENTICATED)
        extra = {key: tuple(values) for key, values in self._extra.items()}
        return UserInfo(self.username, self._uid, tuple(groups), extra)


def _pairs(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the headers; aiohttp's mapping repeats a key for each of its values."""
    yield from headers.items()


def _right(
    group: str, resource: str, name: str, cluster: str, *, subresource: str = ""
) -> Attributes:
    return Attributes(
        "impersonate",
        group=group,
        version="v1",
        resource=resource,
        subresource=subresource,
        name=name,
        cluster=cluster,
    )


class _Named:
    """A resource name for an error message."""

    def __init__(self, group: str, plural: str) -> None:
        self.group = group
        self.plural = plural


def _refused(user: UserInfo, attributes: Attributes) -> StatusError:
    where = (
        f'in the namespace "{attributes.namespace}"'
        if attributes.namespace
        else "at the cluster scope"
    )
    resource = attributes.resource
    if attributes.subresource:
        resource = f"{resource}/{attributes.subresource}"
    return forbidden(
        _Named(attributes.group, attributes.resource),
        attributes.name,
        f'User "{user.username}" cannot impersonate resource "{resource}" '
        f'in API group "{attributes.group}" {where}',
    )


def _bearer_token(authorization: str | None) -> str | None:
    """Return the token; other schemes are ignored, as the real server ignores Basic."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token else None


def _split_account(username: str) -> tuple[str, str] | None:
    """Return namespace and name of a ServiceAccount's user name."""
    parts = username.split(":")
    if username.startswith(_ACCOUNT_PREFIX) and len(parts) == 4 and parts[2] and parts[3]:
        return parts[2], parts[3]
    return None


def service_account_user(claims: Claims) -> UserInfo:
    """Return the user that a ServiceAccount is in its own cluster."""
    extra = {_CREDENTIAL_ID: (f"JTI={claims.token_id}",)}
    if claims.bound is not None and claims.bound.kind == "pod":
        extra["authentication.kubernetes.io/pod-name"] = (claims.bound.name,)
        extra["authentication.kubernetes.io/pod-uid"] = (claims.bound.uid,)
    return UserInfo(
        f"{_ACCOUNT_PREFIX}{claims.namespace}:{claims.name}",
        claims.uid,
        ("system:serviceaccounts", f"system:serviceaccounts:{claims.namespace}", AUTHENTICATED),
        extra,
    )


def _foreign_user(claims: Claims) -> UserInfo:
    identity = f"system:kcp:serviceaccount:{claims.cluster}:{claims.namespace}:{claims.name}"
    return UserInfo(
        ANONYMOUS.username,
        groups=(AUTHENTICATED, f"system:cluster:{claims.cluster}"),
        extra={FOREIGN_IDENTITY: (identity,)},
    )


class _Identity(NamedTuple):
    """Whom a certificate names, until when, and in which logical cluster (None: in all)."""

    user: UserInfo
    ends: float
    cluster: str | None


@lru_cache(maxsize=256)
def _identity(der: bytes) -> _Identity:
    """Return what a certificate says that TLS has verified already."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    from kcpctl.embedded.security.ca import CLUSTER_EXTENSION

    certificate = x509.load_der_x509_certificate(der)
    subject = certificate.subject
    names = [str(entry.value) for entry in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    organisations = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    groups = dict.fromkeys(str(entry.value) for entry in organisations)
    if not names or not names[0]:
        raise unauthorized()
    fingerprint = hashlib.sha256(der).hexdigest()
    user = UserInfo(
        names[0],
        groups=(*groups, AUTHENTICATED),
        extra={_CREDENTIAL_ID: (f"X509SHA256={fingerprint}",)},
    )
    cluster = None
    with contextlib.suppress(x509.ExtensionNotFound):
        found = certificate.extensions.get_extension_for_oid(CLUSTER_EXTENSION).value
        assert isinstance(found, x509.UnrecognizedExtension)
        cluster = found.value.decode()
    return _Identity(user, certificate.not_valid_after_utc.timestamp(), cluster)
