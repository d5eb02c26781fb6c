"""The settings of the SyncTarget controller."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

from kcpctl.errors import UsageError
from kcpctl.reconcilers.synctarget.health import Thresholds

__all__ = ["AUTH_CERTIFICATE", "AUTH_EXTERNAL", "AUTH_TOKEN", "SyncTargetOptions"]

AUTH_TOKEN: Final = "token"
AUTH_CERTIFICATE: Final = "certificate"
AUTH_EXTERNAL: Final = "external"

# A token that one may ask for a certificate with, and then only while a controller approves that:
# so it need not last while there is none.
_BOOTSTRAP_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncTargetOptions:
    """What an operator may set; the defaults are those of decisions 4, 6, 8 and 12.

    Parameters
    ----------
    heartbeat_threshold_seconds: age of a heartbeat from which HeartbeatHealthy is False.
    unhealthy_threshold_seconds: age of a heartbeat from which Ready is False.
    startup_grace_seconds: how long a deployed syncer may take to its first heartbeat.
    syncer_image: image of syncers that name none; "" makes naming one a duty.
    upstream_server_url: URL that deployed syncers reach the upstream server under; "" takes the
        one of the controller's own client.
    upstream_ca_data: PEM certificates that the syncers check that server with.
    upstream_insecure: they do not check it. For development only.
    upstream_server_name: name that its certificate is checked for, if not the URL's host.
    credentials_namespace: where kubeconfig Secrets and syncer identities live upstream.
    reference_cache_seconds: how long it counts that another workspace's cluster may be used.
    force_delete_after_seconds: how long a deletion waits for a cluster that cannot be reached.
    workers: worker threads.
    syncer_auth: how syncers authenticate upstream: with a ``token`` that the controller makes and
        renews; with a client ``certificate`` that they ask for themselves, by a token that may do
        no more than that; or by the kubeconfig that somebody else (``external``) puts into their
        Secret.
    syncer_token_seconds: life of a syncer's token; renewed when a fifth of it is left.
    """

    heartbeat_threshold_seconds: float = 60.0
    unhealthy_threshold_seconds: float = 300.0
    startup_grace_seconds: float = 60.0
    syncer_image: str = ""
    upstream_server_url: str = ""
    upstream_ca_data: bytes | None = None
    upstream_insecure: bool = False
    upstream_server_name: str = ""
    credentials_namespace: str = "kcpctl-system"
    reference_cache_seconds: float = 30.0
    force_delete_after_seconds: float = 600.0
    workers: int = 4
    syncer_auth: str = AUTH_TOKEN
    syncer_token_seconds: int = 86_400

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_threshold_seconds <= self.unhealthy_threshold_seconds:
            raise UsageError(
                "--sync-target-heartbeat-threshold must be above zero and not above "
                "--sync-target-unhealthy-threshold"
            )

    def newer(self, other: Self) -> Self:
        """Return these options with what may change while the controller runs as ``other`` has it.

        That is the thresholds, the grace, ``force_delete_after_seconds`` and ``syncer_image``.
        """
        return replace(
            self,
            heartbeat_threshold_seconds=other.heartbeat_threshold_seconds,
            unhealthy_threshold_seconds=other.unhealthy_threshold_seconds,
            startup_grace_seconds=other.startup_grace_seconds,
            force_delete_after_seconds=other.force_delete_after_seconds,
            syncer_image=other.syncer_image,
        )

    @property
    def token_seconds(self) -> int:
        """Life of the tokens that the controller makes: short where they only ask."""
        if self.syncer_auth == AUTH_CERTIFICATE:
            return min(self.syncer_token_seconds, _BOOTSTRAP_SECONDS)
        return self.syncer_token_seconds

    @property
    def thresholds(self) -> Thresholds:
        """The three figures that health is judged by."""
        return Thresholds(
            self.heartbeat_threshold_seconds,
            self.unhealthy_threshold_seconds,
            self.startup_grace_seconds,
        )
