"""Fields of the spec that have no effect: whoever sets one is told by the object itself."""

from __future__ import annotations

from kcpctl.apis.workload import SyncTarget
from kcpctl.logicalcluster import PATH_ANNOTATION

__all__ = ["ignored_fields"]


def ignored_fields(target: SyncTarget, cluster: str, path: str = "") -> tuple[str, ...]:
    """Return what the spec asks for and nobody does, in the order of the spec.

    ``cluster`` is the logical cluster that holds the target, ``path`` that of its workspace, ""
    when that is not known.
    """
    spec, syncer, deployment = target.spec, target.spec.syncer, target.spec.deployment
    found = []
    if spec.kcp_cluster:
        own = (cluster, path, target.metadata.annotations.get(PATH_ANNOTATION))
        if spec.kcp_cluster not in own:
            found.append("spec.kcpCluster (the workspace that holds the target is what is served)")
    if deployment is not None and deployment.feature_gates:
        found.append("spec.deployment.featureGates")
    if syncer is not None:
        if syncer.mode not in {"", "push"}:
            found.append("spec.syncer.mode")
        if syncer.api_import_poll_interval:
            found.append("spec.syncer.apiImportPollInterval")
        if syncer.upsync_pods:
            found.append("spec.syncer.upsyncPods")
    return tuple(found)
