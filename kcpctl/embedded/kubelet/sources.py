"""Where a Pod's Secrets, ConfigMaps and tokens come from: the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kcpctl.embedded.kubelet.volumes import Missing
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.user import SYSTEM, UserInfo
from kcpctl.runtime import SYSTEM_CLOCK, Clock

__all__ = ["CreateToken", "RegistrySources"]

Json = dict[str, Any]
CreateToken = Callable[[str, str, Json, Json, UserInfo], Json]
"""cluster, namespace, ServiceAccount, TokenRequest, user: the TokenRequest with its status."""

_LIFE_LEFT: Final = 0.2  # the share of a token's life at which it is replaced, as the kubelet does
_MIN_SECONDS: Final = 600


class RegistrySources:
    """The :class:`PodSources` of one Pod. Event loop's thread only."""

    def __init__(
        self,
        registry: Registry,
        cluster: str,
        pod: Json,
        create_token: CreateToken,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._registry = registry
        self._cluster = cluster
        self._namespace: str = pod["metadata"]["namespace"]
        self._pod_name: str = pod["metadata"]["name"]
        self._pod_uid: str = pod["metadata"]["uid"]
        self._account: str = pod["spec"].get("serviceAccountName") or "default"
        self._create_token = create_token
        self._clock = clock
        self._tokens: dict[tuple[str, int], tuple[str, float]] = {}  # -> token, when to replace it

    def _find(self, plural: str, name: str) -> Json | None:
        info = self._registry.info(self._cluster, "", "v1", plural)
        return self._registry.find(info, self._cluster, self._namespace, name)

    def secret(self, name: str) -> Json | None:
        """Return a Secret of the Pod's namespace."""
        return self._find("secrets", name)

    def config_map(self, name: str) -> Json | None:
        """Return a ConfigMap of the Pod's namespace."""
        return self._find("configmaps", name)

    def token(self, audience: str, expiration_seconds: int) -> str:
        """Return a token bound to the Pod, a new one when a fifth of its life is left."""
        seconds = max(expiration_seconds, _MIN_SECONDS)
        key = (audience, seconds)
        now = self._clock.time()
        cached = self._tokens.get(key)
        if cached is not None and now < cached[1]:
            return cached[0]
        account = self._find("serviceaccounts", self._account)
        if account is None:
            raise Missing(f'serviceaccount "{self._account}" not found')
        request = {
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": self._pod_name,
                    "uid": self._pod_uid,
                },
            }
        }
        answer = self._create_token(self._cluster, self._namespace, account, request, SYSTEM)
        token = str(answer["status"]["token"])
        self._tokens[key] = (token, now + seconds * (1 - _LIFE_LEFT))
        return token
