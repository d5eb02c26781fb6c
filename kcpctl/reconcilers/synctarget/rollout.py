"""How far the syncer's Deployment is, as a pure function of the Deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from kcpctl.apis.conditions import ERROR, INFO, Condition, false, is_true, true, unknown

__all__ = [
    "CONFIG_HASH_ANNOTATION",
    "DEPLOYMENT_FAILED",
    "IMAGE_PULL_ERROR",
    "WAITING_FOR_CERTIFICATE",
    "Rollout",
    "deployed_condition",
]

CONFIG_HASH_ANNOTATION: Final = "workload.kcp.io/config-hash"
DEPLOYMENT_FAILED: Final = "DeploymentFailed"
IMAGE_PULL_ERROR: Final = "ImagePullError"
WAITING_FOR_SECRET: Final = "WaitingForSecret"
WAITING_FOR_CERTIFICATE: Final = "WaitingForCertificate"
_SYNCER_DEPLOYED: Final = "SyncerDeployed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What the syncer's Deployment says of itself.

    ``observed`` tells whether its status is about its present spec. ``failure`` is why it cannot
    go on (reported by its controller), ``missing_image`` the same by its Pods, ``error`` why it
    could not be applied, ``delay`` what keeps it from being looked at or applied now, ``waiting``
    what somebody else has to do first; "" without. ``waiting_for`` is the reason to that.
    """

    uid: str = ""
    config_hash: str = ""
    image: str = ""
    generation: int = 0
    desired: int = 1
    available: int = 0
    observed: bool = False
    deleting: bool = False
    failure: str = ""
    missing_image: str = ""
    error: str = ""
    delay: str = ""
    waiting: str = ""
    waiting_for: str = WAITING_FOR_SECRET

    @classmethod
    def of(cls, deployment: Mapping[str, Any]) -> Self:
        """Return the rollout of a Deployment as read or applied."""
        metadata = deployment.get("metadata") or {}
        spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
        generation = int(metadata.get("generation") or 0)
        replicas = spec.get("replicas")
        return cls(
            uid=metadata.get("uid", ""),
            config_hash=(metadata.get("annotations") or {}).get(CONFIG_HASH_ANNOTATION, ""),
            image=_image(spec),
            generation=generation,
            desired=1 if replicas is None else int(replicas),
            available=int(status.get("availableReplicas") or 0),
            observed=int(status.get("observedGeneration") or 0) >= generation,
            deleting=bool(metadata.get("deletionTimestamp")),
            failure=_failure(status.get("conditions") or ()),
        )

    @property
    def complete(self) -> bool:
        """Whether the syncer runs, or is not meant to."""
        return self.observed and (self.available >= 1 or self.desired == 0)


def _image(spec: Mapping[str, Any]) -> str:
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    return str(containers[0].get("image", "")) if containers else ""


def _failure(conditions: Any) -> str:
    """Return why the Deployment's controller gave up or cannot make Pods."""
    for one in conditions:
        kind, status = one.get("type"), one.get("status")
        if (kind, status) in {("ReplicaFailure", "True"), ("Progressing", "False")}:
            return str(one.get("message") or one.get("reason") or kind)
    return ""


def deployed_condition(connected: Condition, rollout: Rollout | None) -> Condition:
    """Return SyncerDeployed (Managed mode)."""
    if rollout is not None and rollout.error:
        return false(_SYNCER_DEPLOYED, ERROR, DEPLOYMENT_FAILED, rollout.error)
    if not is_true([connected], connected.type):
        return unknown(
            _SYNCER_DEPLOYED, "ClusterUnreachable", "The cluster is not connected right now"
        )
    if rollout is None:
        return unknown(_SYNCER_DEPLOYED, "NotChecked", "The syncer's Deployment was not read yet")
    if rollout.delay:
        return unknown(_SYNCER_DEPLOYED, "DeploymentDelayed", rollout.delay)
    if rollout.complete:
        what = "The syncer runs" if rollout.desired else "The syncer is scaled to zero"
        return true(_SYNCER_DEPLOYED, "Deployed", what)
    if rollout.waiting:
        return false(_SYNCER_DEPLOYED, INFO, rollout.waiting_for, rollout.waiting)
    if rollout.missing_image:
        return false(_SYNCER_DEPLOYED, ERROR, IMAGE_PULL_ERROR, rollout.missing_image)
    if rollout.failure and rollout.observed:
        return false(_SYNCER_DEPLOYED, ERROR, DEPLOYMENT_FAILED, rollout.failure)
    return false(_SYNCER_DEPLOYED, INFO, "Progressing", "The syncer is being rolled out")
