"""What a syncer is told."""

from __future__ import annotations

from dataclasses import dataclass

from kcpctl.apis.signing import LONGEST_CERTIFICATE_SECONDS, SHORTEST_CERTIFICATE_SECONDS
from kcpctl.errors import UsageError

__all__ = ["SyncerOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncerOptions:
    """The settings of one syncer; the defaults are those of decision 4 and 3.1.

    Parameters
    ----------
    sync_target_name, sync_target_uid: whom it works for. Another uid is another SyncTarget.
    from_cluster: the upstream logical cluster, by name or path; "" or ``root`` on a plain server.
    heartbeat_interval_seconds: between two heartbeats.
    sync_interval_seconds: between two comparisons of everything, from the caches; 0 for never.
    retry_initial_seconds, retry_max_seconds, retry_multiplier: how long an object that failed
        waits (decision 15). An initial wait above the longest one wins.
    workers: of each controller; there is one for each synced type and one for namespaces.
    namespace_clean_delay_seconds: how long a downstream namespace is left after its last object.
    health_bind_address: ``host:port`` of /healthz and /readyz; "" serves none.
    syncer_namespace: the namespace that the syncer runs in; nothing in it is ever synced.
    once_timeout_seconds: how long a single pass may take to settle.
    leader_elect: of several syncers of one SyncTarget one works, the one that holds the Lease in
        ``syncer_namespace`` downstream that has the syncer's name; it has to exist.
    certificate_seconds: life of the client certificate that it asks the upstream server for, with
        the kubeconfig's credentials for that alone; None: they are used for everything.
    """

    sync_target_name: str
    sync_target_uid: str
    from_cluster: str = ""
    heartbeat_interval_seconds: float = 20.0
    sync_interval_seconds: float = 30.0
    retry_initial_seconds: float = 0.005
    retry_max_seconds: float = 60.0
    retry_multiplier: float = 2.0
    workers: int = 2
    namespace_clean_delay_seconds: float = 30.0
    health_bind_address: str = ""
    syncer_namespace: str = ""
    once_timeout_seconds: float = 60.0
    leader_elect: bool = False
    certificate_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.sync_target_name:
            raise UsageError("a syncer needs --sync-target-name")
        if not self.sync_target_uid:
            raise UsageError(
                "a syncer needs --sync-target-uid: kubectl get synctarget "
                f"{self.sync_target_name} -o jsonpath={{.metadata.uid}}"
            )
        if self.leader_elect and not self.syncer_namespace:
            raise UsageError("--leader-elect needs --namespace: the Lease is in that namespace")
        if self.heartbeat_interval_seconds <= 0:
            raise UsageError("--heartbeat-interval must be above zero")
        if self.retry_initial_seconds <= 0:
            raise UsageError("--retry-initial-interval must be above zero")
        if self.retry_multiplier <= 1:
            raise UsageError("--retry-multiplier must be above 1")
        shortest, longest = SHORTEST_CERTIFICATE_SECONDS, LONGEST_CERTIFICATE_SECONDS
        asked = self.certificate_seconds
        if asked is not None and not shortest <= asked <= longest:
            raise UsageError("--certificate-duration must be between 10m and 168h (a week)")
        if self.workers < 1:
            raise UsageError("--workers must be at least 1")
