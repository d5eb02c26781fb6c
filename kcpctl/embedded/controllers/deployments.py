"""Deployments: the right ReplicaSets, in the right sizes, and their status."""

from __future__ import annotations

from typing import Any, Final

from kcpctl.embedded.controllers.deployment_status import (
    deadline_left,
    rollout_status,
    set_condition,
)
from kcpctl.embedded.controllers.event_writer import EventWriter
from kcpctl.embedded.controllers.keyed import MANAGER, KeyedController
from kcpctl.embedded.controllers.replicasets import controlled_by
from kcpctl.embedded.controllers.rollout import (
    HASH_LABEL,
    REVISION,
    bounds,
    desired,
    new_set_size,
    old_set_sizes,
    same_template,
    template_hash,
)
from kcpctl.embedded.registry import Event, Registry
from kcpctl.embedded.status import StatusError
from kcpctl.runtime import SYSTEM_CLOCK, Clock, parse_time

__all__ = ["DeploymentController"]

Json = dict[str, Any]
_Key = tuple[str, str, str]  # cluster, namespace, name
_DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
_MAX: Final = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED: Final = ("kubectl.kubernetes.io/last-applied-configuration", REVISION, _DESIRED, _MAX)
_DEFAULT_HISTORY: Final = 10


class DeploymentController(KeyedController[_Key]):
    """Rolling updates and Recreate, pausing, rollback (by ``kubectl``), history, conditions.

    A Deployment that is scaled in the middle of a rollout is not scaled proportionally: the new
    ReplicaSet gets the difference. Event loop's thread only.
    """

    def __init__(
        self, registry: Registry, events: EventWriter, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        super().__init__("deployments", registry, clock=clock)
        self._events = events

    def _changed(self, event: Event) -> None:
        if event.info.storage_key == "deployments.apps":
            self._loop.add((event.cluster, event.namespace, event.name))
        elif event.info.storage_key == "replicasets.apps":
            for owner in event.object["metadata"].get("ownerReferences") or ():
                if owner.get("controller") and owner["kind"] == "Deployment":
                    self._loop.add((event.cluster, event.namespace, owner["name"]))

    def reconcile(self, key: _Key) -> float | None:
        """Take one Deployment a step further."""
        cluster, namespace, name = key
        try:
            info = self._registry.info(cluster, "apps", "v1", "deployments")
        except StatusError:
            return None
        deployment = self._registry.find(info, cluster, namespace, name)
        if deployment is None:
            return None
        if not deployment["metadata"].get("deletionTimestamp"):
            deployment = self._roll(cluster, deployment)
        sets = self._sets(cluster, deployment)
        new = _newest_match(deployment, sets)
        status = rollout_status(deployment, new, sets, self._clock.time())
        if status != deployment.get("status"):
            deployment = self._write_status(cluster, {**deployment, "status": status})
        left = deadline_left(deployment, self._clock.time())
        return None if left is None else max(left, 0) + 1

    def _sets(self, cluster: str, deployment: Json) -> list[Json]:
        """Return the ReplicaSets that a Deployment controls, oldest first."""
        info = self._registry.info(cluster, "apps", "v1", "replicasets")
        namespace = deployment["metadata"]["namespace"]
        owned = [
            entry
            for entry in self._registry.list(info, cluster, namespace)
            if controlled_by(entry, deployment)
        ]
        return sorted(owned, key=lambda entry: (_created(entry), entry["metadata"]["name"]))

    def _roll(self, cluster: str, deployment: Json) -> Json:
        sets = self._sets(cluster, deployment)
        new = _newest_match(deployment, sets)
        old = [entry for entry in sets if entry is not new]
        if deployment["spec"].get("paused"):
            return self._paused(cluster, deployment, new)
        recreate = (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"
        if recreate:
            for entry in old:
                self._resize(cluster, deployment, entry, 0)
            if any(_pods_left(entry) for entry in old):
                return deployment  # their ReplicaSets wake this Deployment when they are gone
        deployment, new = self._ensure_new(cluster, deployment, new, old, recreate=recreate)
        if recreate:
            self._resize(cluster, deployment, new, desired(deployment))
        else:
            size = new_set_size(deployment, new, [*old, new])
            new = self._resize(cluster, deployment, new, size)
            for entry, wanted in zip(old, old_set_sizes(deployment, new, old), strict=True):
                self._resize(cluster, deployment, entry, wanted)
        self._forget_history(cluster, deployment, old)
        return deployment

    def _paused(self, cluster: str, deployment: Json, new: Json | None) -> Json:
        if new is not None:
            self._resize(cluster, deployment, new, desired(deployment))
        return deployment

    def _ensure_new(
        self,
        cluster: str,
        deployment: Json,
        new: Json | None,
        old: list[Json],
        *,
        recreate: bool,
    ) -> tuple[Json, Json]:
        """Return the Deployment and its ReplicaSet, created or renumbered as needed."""
        revision = str(max((_revision(entry) for entry in old), default=0) + 1)
        conditions = (deployment.get("status") or {}).get("conditions") or []
        now = self._clock.time()
        if new is None:
            new = self._create_set(cluster, deployment, old, revision, recreate=recreate)
            name = new["metadata"]["name"]
            message = f'Created new replica set "{name}"'
            conditions = set_condition(
                conditions, "Progressing", "True", "NewReplicaSetCreated", message, now
            )
        else:
            revision = str(max(_revision(new), int(revision)))
            wanted = {**_copied_annotations(deployment), REVISION: revision}
            if wanted.items() - (new["metadata"].get("annotations") or {}).items():
                new = self._annotate_set(cluster, new, wanted)
            if not any(entry["type"] == "Progressing" for entry in conditions):
                message = f'Found new replica set "{new["metadata"]["name"]}"'
                conditions = set_condition(
                    conditions, "Progressing", "True", "FoundNewReplicaSet", message, now
                )
        annotations = deployment["metadata"].get("annotations") or {}
        status = deployment.get("status") or {}
        if annotations.get(REVISION) != revision or conditions != (status.get("conditions") or []):
            changed = {
                **deployment,
                "metadata": {
                    **deployment["metadata"],
                    "annotations": {**annotations, REVISION: revision},
                },
                "status": {**status, "conditions": conditions},
            }
            # The revision goes with the status: an annotation changed otherwise would count as a
            # new generation of a Deployment.
            deployment = self._write_status(cluster, changed)
        return deployment, new

    def _create_set(
        self,
        cluster: str,
        deployment: Json,
        old: list[Json],
        revision: str,
        *,
        recreate: bool,
    ) -> Json:
        info = self._registry.info(cluster, "apps", "v1", "replicasets")
        namespace = deployment["metadata"]["namespace"]
        replica_set = _new_set(deployment, revision)
        placeholder = {**replica_set, "spec": {**replica_set["spec"], "replicas": 0}}
        size = (
            desired(deployment)
            if recreate
            else new_set_size(deployment, placeholder, [*old, placeholder])
        )
        replica_set["spec"]["replicas"] = size
        created = self._registry.create(
            info, cluster, namespace, replica_set, field_manager=MANAGER
        )
        self._scaled(cluster, deployment, created, 0, size)
        return created

    def _annotate_set(self, cluster: str, replica_set: Json, annotations: Json) -> Json:
        info = self._registry.info(cluster, "apps", "v1", "replicasets")
        metadata = replica_set["metadata"]
        body = {"metadata": {"annotations": annotations}}
        return self._registry.patch(
            info, cluster, metadata["namespace"], metadata["name"], body, field_manager=MANAGER
        )

    def _resize(self, cluster: str, deployment: Json, replica_set: Json, size: int) -> Json:
        before = desired(replica_set)
        if before == size:
            return replica_set
        info = self._registry.info(cluster, "apps", "v1", "replicasets")
        metadata = replica_set["metadata"]
        body = {
            "metadata": {"annotations": _size_annotations(deployment)},
            "spec": {"replicas": size},
        }
        changed = self._registry.patch(
            info, cluster, metadata["namespace"], metadata["name"], body, field_manager=MANAGER
        )
        self._scaled(cluster, deployment, changed, before, size)
        return changed

    def _scaled(
        self, cluster: str, deployment: Json, replica_set: Json, before: int, after: int
    ) -> None:
        if before != after:
            name = replica_set["metadata"]["name"]
            verb = "up" if after > before else "down"
            message = f"Scaled {verb} replica set {name} from {before} to {after}"
            self._events.event(cluster, deployment, "ScalingReplicaSet", message)

    def _forget_history(self, cluster: str, deployment: Json, old: list[Json]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit")
        limit = _DEFAULT_HISTORY if limit is None else int(limit)
        info = self._registry.info(cluster, "apps", "v1", "replicasets")
        idle = [entry for entry in old if desired(entry) == 0 and not _pods_left(entry)]
        idle.sort(key=_revision)
        for entry in idle[: max(len(idle) - limit, 0)]:
            metadata = entry["metadata"]
            if not metadata.get("deletionTimestamp"):
                self._registry.delete(info, cluster, metadata["namespace"], metadata["name"])

    def _write_status(self, cluster: str, deployment: Json) -> Json:
        info = self._registry.info(cluster, "apps", "v1", "deployments")
        return self._registry.update(
            info, cluster, deployment, subresource="status", field_manager=MANAGER
        )


def _created(obj: Json) -> float:
    return parse_time(obj["metadata"]["creationTimestamp"])


def _revision(replica_set: Json) -> int:
    text = (replica_set["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _newest_match(deployment: Json, sets: list[Json]) -> Json | None:
    """Return the ReplicaSet with the present template: of several the oldest, as the real one."""
    return next((entry for entry in sets if same_template(deployment, entry)), None)


def _pods_left(replica_set: Json) -> bool:
    status = replica_set.get("status") or {}
    return bool(status.get("replicas") or status.get("terminatingReplicas"))


def _size_annotations(deployment: Json) -> dict[str, str]:
    surge = bounds(deployment)[0]
    wanted = desired(deployment)
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        surge = 0
    return {_DESIRED: str(wanted), _MAX: str(wanted + surge)}


def _copied_annotations(deployment: Json) -> dict[str, str]:
    """Return what the current ReplicaSet carries too: so each revision keeps its change-cause."""
    annotations = deployment["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key not in _NOT_COPIED}


def _new_set(deployment: Json, revision: str) -> Json:
    metadata, spec = deployment["metadata"], deployment["spec"]
    template = spec["template"]
    hashed = template_hash(template, (deployment.get("status") or {}).get("collisionCount", 0))
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: hashed}
    selector = spec["selector"]
    annotations = _copied_annotations(deployment)
    new_spec: Json = {
        "selector": {
            **selector,
            "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: hashed},
        },
        "template": {
            **template,
            "metadata": {**(template.get("metadata") or {}), "labels": labels},
        },
    }
    if spec.get("minReadySeconds"):
        new_spec["minReadySeconds"] = spec["minReadySeconds"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{hashed}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {**annotations, **_size_annotations(deployment), REVISION: revision},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": new_spec,
    }
