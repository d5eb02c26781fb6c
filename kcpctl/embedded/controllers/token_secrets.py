"""Secrets of type service-account-token: long-lived tokens of ServiceAccounts."""

from __future__ import annotations

import base64
from typing import Any, Final

from kcpctl.embedded.controllers.keyed import MANAGER, KeyedController
from kcpctl.embedded.registry import Event, Registry
from kcpctl.embedded.security.tokens import BoundObject, Claims, ServiceAccountTokens
from kcpctl.embedded.status import StatusError
from kcpctl.runtime import SYSTEM_CLOCK, Clock

__all__ = ["TokenSecretController"]

Json = dict[str, Any]
_Key = tuple[str, str, str]
_TYPE: Final = "kubernetes.io/service-account-token"
_NAME: Final = "kubernetes.io/service-account.name"
_UID: Final = "kubernetes.io/service-account.uid"
# Such tokens are good until their Secret is gone; ours have to end somewhere.
_LIFETIME_SECONDS: Final = 10 * 365 * 86_400


class TokenSecretController(KeyedController[_Key]):
    """Fills Secrets of type ``kubernetes.io/service-account-token``.

    It is how a token is had where there is no TokenRequest, as in the virtual workspace of an
    APIExport. The Secret names its ServiceAccount in an annotation and gets ``token``, ``ca.crt``
    and ``namespace``; it goes when the ServiceAccount is not (or no longer) there. Event loop's
    thread only.
    """

    def __init__(
        self,
        registry: Registry,
        tokens: ServiceAccountTokens,
        *,
        ca_pem: bytes,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__("token-secrets", registry, clock=clock)
        self._tokens = tokens
        self._ca = ca_pem

    def _changed(self, event: Event) -> None:
        if event.info.storage_key == "secrets" and event.object.get("type") == _TYPE:
            if event.type != "DELETED":
                self._loop.add((event.cluster, event.namespace, event.name))
        elif event.info.storage_key == "serviceaccounts" and event.type == "DELETED":
            info = self._registry.info(event.cluster, "", "v1", "secrets")
            for secret in self._registry.list(info, event.cluster, event.namespace):
                if secret.get("type") == _TYPE and _account_of(secret) == event.name:
                    self._loop.add((event.cluster, event.namespace, secret["metadata"]["name"]))

    def reconcile(self, key: _Key) -> float | None:
        """Bring one Secret to what it should be."""
        cluster, namespace, name = key
        try:
            secrets = self._registry.info(cluster, "", "v1", "secrets")
            accounts = self._registry.info(cluster, "", "v1", "serviceaccounts")
        except StatusError:  # the logical cluster is gone
            return None
        secret = self._registry.find(secrets, cluster, namespace, name)
        if secret is None or secret["metadata"].get("deletionTimestamp"):
            return None
        account = self._registry.find(accounts, cluster, namespace, _account_of(secret))
        uid = (secret["metadata"].get("annotations") or {}).get(_UID)
        if account is None or (uid and uid != account["metadata"]["uid"]):
            self._registry.delete(secrets, cluster, namespace, name)
        elif not uid or not {"token", "ca.crt", "namespace"} <= (secret.get("data") or {}).keys():
            filled = self._filled(cluster, secret, account)
            self._registry.update(secrets, cluster, filled, field_manager=MANAGER)
        return None

    def _filled(self, cluster: str, secret: Json, account: Json) -> Json:
        meta, owner = secret["metadata"], account["metadata"]
        namespace, data = meta["namespace"], dict(secret.get("data") or {})
        if "token" not in data:
            bound = BoundObject("secret", meta["name"], meta["uid"])
            claims = Claims(cluster, namespace, owner["name"], owner["uid"], bound=bound)
            token, _ = self._tokens.issue(claims, _LIFETIME_SECONDS)
            data["token"] = _encoded(token.encode())
        data |= {"ca.crt": _encoded(self._ca), "namespace": _encoded(namespace.encode())}
        annotations = {**meta["annotations"], _UID: owner["uid"]}
        return {**secret, "metadata": {**meta, "annotations": annotations}, "data": data}


def _account_of(secret: Json) -> str:
    return str((secret["metadata"].get("annotations") or {}).get(_NAME, ""))


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
