"""Where the kubeconfig of a SyncTarget's physical cluster comes from (decision 8)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from kcpctl.apis.common import ConfigSecretReference, SecretReference
from kcpctl.apis.conditions import WARNING
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import SECRETS
from kcpctl.apis.synctarget_connection import Connection, Credentials
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS, ClusterRegistration
from kcpctl.apis.workload import SyncTarget, SyncTargetSpec
from kcpctl.informers import CachedObject
from kcpctl.logicalcluster import PATH_ANNOTATION, key_of, split_key
from kcpctl.reconcilers.claims import Hint, no_hint
from kcpctl.reconcilers.problem import (
    CLUSTER_REF_NOT_FOUND,
    CREDENTIALS_MISSING,
    INVALID_CONFIGURATION,
    Problem,
    Unusable,
)
from kcpctl.reconcilers.workspaces import Permission, Workspaces

__all__ = ["Cache", "CredentialSource", "Kubeconfig", "Reference", "Unusable", "reference_of"]

KUBECONFIG_KEY: Final = "kubeconfig"


class Cache(Protocol):
    """What is needed of an informer's lister. Safe from any thread."""

    def cached(self, key: str) -> CachedObject | None:
        """Return the object of that key."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """A kubeconfig, and where it is from, for messages."""

    data: bytes = field(repr=False)
    source: str


class Reference(NamedTuple):
    """A ClusterRegistration as a spec names it; ``workspace`` is "" for the SyncTarget's own."""

    workspace: str
    name: str

    def key(self, cluster: str) -> str:
        """Return its key for a SyncTarget of ``cluster``, with the workspace as it is written."""
        return key_of(self.workspace or cluster, "", self.name)


def reference_of(target: SyncTarget, cluster: str) -> Reference | None:
    """Return the ClusterRegistration that a SyncTarget of ``cluster`` may resolve through."""
    spec = target.spec
    if spec.cluster_ref is not None:
        workspace, name = spec.cluster_ref.workspace, spec.cluster_ref.name
    else:
        workspace, _, name = spec.cluster.rpartition(":")
    if workspace in (cluster, target.metadata.annotations.get(PATH_ANNOTATION)):
        workspace = ""
    return Reference(workspace, name) if name else None


class CredentialSource:
    """Finds kubeconfigs in the caches of one server. Safe from any thread.

    A Secret is looked for in the SyncTarget's own logical cluster, or in that of another one's
    ClusterRegistration that it may use. No I/O, except that ``workspaces`` asks about other ones;
    without it a reference to another one is refused. ``hint`` tells why a Secret may not be seen.
    """

    def __init__(
        self,
        secrets: Cache,
        registrations: Cache,
        *,
        namespace: str,
        workspaces: Workspaces | None = None,
        hint: Hint = no_hint,
    ) -> None:
        self._secrets = secrets
        self._registrations = registrations
        self._namespace = namespace
        self._workspaces = workspaces
        self._hint = hint

    def find(self, target: SyncTarget, cluster: str) -> Kubeconfig:
        """Return the kubeconfig that the SyncTarget names; raises Unusable."""
        spec = target.spec
        if spec.connection is not None:
            return self._of_connection(spec.connection, spec.credentials, cluster)
        reference = reference_of(target, cluster)
        if reference is None:
            raise Unusable(Problem(INVALID_CONFIGURATION, "The spec names no physical cluster"))
        if reference.workspace:
            return self._elsewhere(reference, cluster)
        name = reference.name
        if spec.cluster_ref is None and self._registrations.cached(reference.key(cluster)) is None:
            return self._of_secret(ConfigSecretReference(name=f"{name}-kubeconfig"), cluster)
        return self.of_registration(self._registration(name, cluster), cluster)

    def recheck_seconds(self, target: SyncTarget, cluster: str) -> float | None:
        """Return when ``find`` may say something else without an event; None if it cannot."""
        reference = reference_of(target, cluster)
        if target.spec.connection is not None or reference is None or not reference.workspace:
            return None
        return None if self._workspaces is None else self._workspaces.due_seconds(cluster)

    def _elsewhere(self, reference: Reference, cluster: str) -> Kubeconfig:
        """Follow a reference to another workspace as far as the SyncTarget's own one may go.

        Whether the registration exists is told only to those who may use it.
        """
        if self._workspaces is None:
            raise Unusable(_unsupported(reference), invalid=True)
        home = self._workspaces.resolve(reference.workspace)
        if home == cluster:
            return self.of_registration(self._registration(reference.name, home), home)
        use = Permission("use", CLUSTER_REGISTRATIONS, "", reference.name)
        called = reference.workspace
        self._workspaces.require(cluster, home, use, called=called)
        found = self._registration(reference.name, home)
        for key in self.registration_secret_keys(_decode(found), home):
            _, namespace, name = split_key(key)
            get = Permission("get", SECRETS, namespace, name)
            self._workspaces.require(cluster, home, get, called=called)
        return self.of_registration(found, home)

    def _registration(self, name: str, cluster: str) -> CachedObject:
        found = self._registrations.cached(key_of(cluster, "", name))
        if found is None:
            raise Unusable(
                Problem(
                    CLUSTER_REF_NOT_FOUND,
                    f"ClusterRegistration {name!r} does not exist in cluster {cluster!r}; create "
                    "it or change spec.clusterRef",
                    WARNING,
                ),
                invalid=True,
            )
        return found

    def secret_keys(self, spec: SyncTargetSpec, cluster: str) -> Iterable[str]:
        """Return the keys of the Secrets that the spec depends on directly."""
        if spec.connection is not None:
            if spec.connection.kubeconfig_secret_ref is not None:
                yield self._key(spec.connection.kubeconfig_secret_ref, cluster)
            if spec.credentials is not None and spec.credentials.secret_ref is not None:
                yield self._key(spec.credentials.secret_ref, cluster)
        elif spec.cluster and ":" not in spec.cluster:
            yield self._key(SecretReference(name=f"{spec.cluster}-kubeconfig"), cluster)

    def registration_secret_keys(
        self, registration: ClusterRegistration, cluster: str
    ) -> Iterable[str]:
        """Return the keys of the Secrets that a ClusterRegistration depends on."""
        spec = registration.spec
        if spec.kubeconfig_secret is not None:
            yield self._key(spec.kubeconfig_secret, cluster)
        if spec.cluster_endpoint is not None and spec.cluster_endpoint.credentials_secret:
            yield self._key(spec.cluster_endpoint.credentials_secret, cluster)

    def _of_connection(
        self, connection: Connection, credentials: Credentials | None, cluster: str
    ) -> Kubeconfig:
        if connection.kubeconfig_secret_ref is not None:
            return self._of_secret(connection.kubeconfig_secret_ref, cluster)
        if not connection.server:
            raise Unusable(
                Problem(
                    INVALID_CONFIGURATION,
                    "spec.connection names neither a server nor a kubeconfigSecretRef; set one",
                )
            )
        reference = credentials.secret_ref if credentials is not None else None
        kind = credentials.type if credentials is not None else ""
        if reference is not None and kind in {"", "kubeconfig"}:
            return self._of_secret(
                ConfigSecretReference(name=reference.name, namespace=reference.namespace), cluster
            )
        settings = {
            "server": connection.server,
            "certificate-authority-data": connection.ca_bundle,
            "tls-server-name": connection.server_name,
            "insecure-skip-tls-verify": connection.insecure_skip_tls_verify,
            "proxy-url": connection.proxy_url,
        }
        return self._inline("spec.connection", settings, reference, cluster)

    def of_registration(self, found: CachedObject, cluster: str) -> Kubeconfig:
        """Return the kubeconfig that a ClusterRegistration names; raises Unusable."""
        name, spec = found.meta.name, _decode(found).spec
        if spec.kubeconfig_secret is not None:
            return self._of_secret(spec.kubeconfig_secret, cluster)
        endpoint = spec.cluster_endpoint
        if endpoint is None:
            raise Unusable(
                Problem(
                    INVALID_CONFIGURATION,
                    f"ClusterRegistration {name!r} in cluster {cluster!r} has neither "
                    "spec.kubeconfigSecret nor spec.clusterEndpoint; set one",
                )
            )
        settings = {
            "server": endpoint.server_url,
            "certificate-authority-data": endpoint.ca_bundle,
            "insecure-skip-tls-verify": bool(
                endpoint.tls_config and endpoint.tls_config.insecure_skip_verify
            ),
        }
        where = f"ClusterRegistration {name!r}"
        return self._inline(where, settings, endpoint.credentials_secret, cluster)

    def _of_secret(self, reference: ConfigSecretReference, cluster: str) -> Kubeconfig:
        key = reference.key or KUBECONFIG_KEY
        where = self._describe(reference, cluster)
        source = f'key "{key}" of {where}'
        data = self._data(reference, cluster, f"{key}=FILE", source)
        if key not in data:
            raise Unusable(
                Problem(CREDENTIALS_MISSING, f'{where} has no key "{key}"; put a kubeconfig there')
            )
        content = _decoded(data[key], source)
        if not content.strip():
            raise Unusable(
                Problem(CREDENTIALS_MISSING, f"{source} is empty; put a kubeconfig there")
            )
        return Kubeconfig(content, source)

    def _inline(
        self,
        where: str,
        settings: Mapping[str, Any],
        reference: SecretReference | None,
        cluster: str,
    ) -> Kubeconfig:
        """Make a kubeconfig of a server's URL and a Secret with a token or a certificate."""
        user: dict[str, str] = {}
        source = f"{where} in cluster {cluster!r}"
        if reference is not None:
            secret = self._describe(reference, cluster)
            source += f" with {secret}"
            user = _user(self._data(reference, cluster, "token=FILE", source), secret)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {k: v for k, v in settings.items() if v}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        return Kubeconfig(msgspec.json.encode(config), source)

    def _data(
        self, reference: SecretReference, cluster: str, example: str, source: str
    ) -> dict[str, str]:
        found = self._secrets.cached(self._key(reference, cluster))
        if found is None:
            raise Unusable(self._missing(reference, cluster, example), source=source)
        content: Unstructured = found.decode()
        return dict(content.get("data") or {})

    def _missing(self, reference: SecretReference, cluster: str, example: str) -> Problem:
        secret = self._describe(reference, cluster)
        if hint := self._hint(cluster, SECRETS.group_resource):
            message = f"{secret} does not exist, or is not shown to the controllers: {hint}"
            return Problem(CREDENTIALS_MISSING, message)
        namespace = reference.namespace or self._namespace
        return Problem(
            CREDENTIALS_MISSING,
            f"{secret} does not exist; create it, for example kubectl -n {namespace} create secret "
            f"generic {reference.name} --from-file={example}",
        )

    def _key(self, reference: SecretReference, cluster: str) -> str:
        return key_of(cluster, reference.namespace or self._namespace, reference.name)

    def _describe(self, reference: SecretReference, cluster: str) -> str:
        namespace = reference.namespace or self._namespace
        return f"Secret {namespace}/{reference.name} in cluster {cluster!r}"


def _unsupported(reference: Reference) -> Problem:
    return Problem(
        INVALID_CONFIGURATION,
        f"ClusterRegistration {reference.name!r} is of another workspace, "
        f"{reference.workspace!r}, and references to others are not followed here; put it into the "
        "SyncTarget's own workspace",
    )


def _decode(found: CachedObject) -> ClusterRegistration:
    try:
        return found.decode(ClusterRegistration)
    except msgspec.ValidationError as error:
        raise Unusable(
            Problem(INVALID_CONFIGURATION, f"ClusterRegistration {found.meta.name!r}: {error}")
        ) from None


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unusable(Problem(INVALID_CONFIGURATION, f"{where} is not base64")) from None


def _user(data: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the user of a kubeconfig from a Secret's token or certificate."""
    if data.get("token"):
        what = f'key "token" of {where}'
        try:
            return {"token": _decoded(data["token"], what).decode().strip()}
        except UnicodeDecodeError:
            raise Unusable(Problem(INVALID_CONFIGURATION, f"{what} is not text")) from None
    if data.get("tls.crt") and data.get("tls.key"):
        return {"client-certificate-data": data["tls.crt"], "client-key-data": data["tls.key"]}
    raise Unusable(
        Problem(
            CREDENTIALS_MISSING,
            f'{where} has neither the key "token" nor the keys "tls.crt" and "tls.key"; add one '
            "of the two",
        )
    )
