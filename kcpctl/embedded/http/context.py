"""What the HTTP layer needs from the rest of the server, as Protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.user import Attributes, Decision, UserInfo
from kcpctl.runtime import SYSTEM_CLOCK, Clock

__all__ = [
    "AdmissionCheck",
    "Authenticator",
    "Authorizer",
    "ReadLog",
    "ServerContext",
    "VirtualResources",
]

Json = dict[str, Any]


class Authenticator(Protocol):
    """Tells who asks."""

    def authenticate(
        self,
        peer_cert: bytes | None,
        authorization: str | None,
        headers: Mapping[str, str],
        cluster: str | None,
    ) -> UserInfo:
        """Return the user; ``system:anonymous`` without credentials.

        ``peer_cert`` is DER and was verified by TLS. ``cluster`` is the name in the URL, None
        without a ``/clusters/`` prefix. Raises StatusError 401 for wrong credentials, 400 and 403
        for impersonation that is malformed or not allowed.
        """

    def token_cluster(self, authorization: str | None) -> str | None:
        """Return the logical cluster that a ServiceAccount token names, without verifying it."""


class Authorizer(Protocol):
    """Tells whether a user may."""

    def authorize(self, user: UserInfo, attributes: Attributes) -> Decision:
        """Decide; never raises."""


class VirtualResources(Protocol):
    """The resources that can only be created, and are answered at once."""

    def create(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        body: Json,
        user: UserInfo,
    ) -> Json:
        """Answer tokenreviews, subjectaccessreviews, selfsubject*: the body with its status."""

    def create_token(
        self, cluster: str, namespace: str, service_account: Json, body: Json, user: UserInfo
    ) -> Json:
        """Answer ``serviceaccounts/NAME/token``: the TokenRequest with its status."""


AdmissionCheck = Callable[[UserInfo, ResourceInfo, str, str, Json, str], None]
"""Gets the user, the resource, the cluster, the namespace, the object that is about to be stored
(whose top-level fields it may replace) and the subresource; raises StatusError to refuse it."""


class ReadLog(Protocol):
    """Gives the output of a container that really runs."""

    def __call__(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        tail_lines: int | None = None,
        previous: bool = False,
    ) -> bytes:
        """Return what was written so far; "" is the first container."""


@dataclass(slots=True)
class ServerContext:
    """Everything a handler needs.

    ``read_log`` answers ``pods/NAME/log``, empty without a kubelet. ``admission`` is asked before
    each create, update and patch.
    """

    registry: Registry
    authenticator: Authenticator
    authorizer: Authorizer
    virtual: VirtualResources
    server_url: str = ""
    clock: Clock = SYSTEM_CLOCK
    admission: AdmissionCheck | None = None
    read_log: ReadLog | None = None
