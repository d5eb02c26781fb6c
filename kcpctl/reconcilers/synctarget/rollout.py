"""How far the syncer's Deployment is, as a pure function of the Deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec

from kcpctl.apis.conditions import ERROR, INFO, Condition, false, is_true, true, unknown
from kcpctl.apis.convert import decode

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
        """Return the rollout of a Deployment as read or applied; total, whatever the cluster says.

        What has not the shape of a Deployment has failed, and is applied again.
        """
        try:
            found = decode(deployment, _Deployment)
        except msgspec.ValidationError as error:
            return cls(observed=True, failure=f"What the cluster has is no Deployment: {error}")
        metadata, spec, status = found.metadata, found.spec, found.status
        containers = spec.template.spec.containers
        return cls(
            uid=metadata.uid,
            config_hash=metadata.annotations.get(CONFIG_HASH_ANNOTATION, ""),
            image=containers[0].image if containers else "",
            generation=metadata.generation,
            desired=spec.replicas,
            available=status.available_replicas,
            observed=status.observed_generation >= metadata.generation,
            deleting=bool(metadata.deletion_timestamp),
            failure=_failure(status.conditions),
        )

    @property
    def complete(self) -> bool:
        """Whether the syncer runs, or is not meant to."""
        return self.observed and (self.available >= 1 or self.desired == 0)


class _Metadata(msgspec.Struct, rename="camel"):
    uid: str = ""
    generation: int = 0
    annotations: dict[str, str] = {}
    deletion_timestamp: str = ""


class _Container(msgspec.Struct, rename="camel"):
    image: str = ""


class _PodSpec(msgspec.Struct, rename="camel"):
    containers: list[_Container] = []


class _Template(msgspec.Struct, rename="camel"):
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)


class _Spec(msgspec.Struct, rename="camel"):
    replicas: int = 1
    template: _Template = msgspec.field(default_factory=_Template)


class _Condition(msgspec.Struct, rename="camel"):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class _Status(msgspec.Struct, rename="camel"):
    available_replicas: int = 0
    observed_generation: int = 0
    conditions: list[_Condition] = []


class _Deployment(msgspec.Struct, rename="camel"):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


def _failure(conditions: Sequence[_Condition]) -> str:
    """Return why the Deployment's controller gave up or cannot make Pods."""
    for one in conditions:
        if (one.type, one.status) in {("ReplicaFailure", "True"), ("Progressing", "False")}:
            return one.message or one.reason or one.type
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
