"""Connections to downstream clusters: states, probes, credentials.

``ClusterPool`` keeps a connection for each kubeconfig it is given, hands out live clients and
notifies of every change; it knows nothing of SyncTargets.
"""

from kcpctl.clusters.pool import ClusterPool, cluster_client
from kcpctl.clusters.status import ConnectionReason, ConnectionState, ConnectionStatus
from kcpctl.clusters.watches import ClusterWatch

__all__ = [
    "ClusterPool",
    "ClusterWatch",
    "ConnectionReason",
    "ConnectionState",
    "ConnectionStatus",
    "cluster_client",
]
