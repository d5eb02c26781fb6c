"""ReplicaSets: as many Pods as they want, and their status."""

from __future__ import annotations

from typing import Any, Final

from kcpctl.embedded.controllers.deployment_status import REPLICA_FAILURE, set_condition
from kcpctl.embedded.controllers.event_writer import EventWriter
from kcpctl.embedded.controllers.keyed import MANAGER, KeyedController
from kcpctl.embedded.controllers.rollout import desired
from kcpctl.embedded.registry import Event, Registry
from kcpctl.embedded.status import StatusError
from kcpctl.runtime import SYSTEM_CLOCK, Clock, parse_time

__all__ = ["ReplicaSetController", "controlled_by"]

Json = dict[str, Any]
_Key = tuple[str, str, str]  # cluster, namespace, name
_FINISHED: Final = ("Succeeded", "Failed")
# A Pod takes a millisecond or two, and clients wait meanwhile.
_AT_ONCE: Final = 10
# Four times what the one Node of such a cluster takes.
_MOST_PODS: Final = 1000
_FULL_RETRY_SECONDS: Final = 5.0


class ReplicaSetController(KeyedController[_Key]):
    """Creates and deletes the Pods that a ReplicaSet controls. It adopts no others.

    A few at a time, so that the server answers meanwhile, and no more than so many in a cluster,
    whatever is asked for: beyond that the condition ReplicaFailure says so, as with a quota.
    Event loop's thread only.
    """

    def __init__(
        self, registry: Registry, events: EventWriter, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        super().__init__("replicasets", registry, clock=clock)
        self._events = events

    def _changed(self, event: Event) -> None:
        if event.info.storage_key == "replicasets.apps":
            self._loop.add((event.cluster, event.namespace, event.name))
        elif event.info.storage_key == "pods":
            owner = _controller(event.object)
            if owner is not None and owner["kind"] == "ReplicaSet":
                self._loop.add((event.cluster, event.namespace, owner["name"]))

    def reconcile(self, key: _Key) -> float | None:
        """Bring one ReplicaSet to the number of Pods that it wants."""
        cluster, namespace, name = key
        try:
            info = self._registry.info(cluster, "apps", "v1", "replicasets")
        except StatusError:
            return None
        replica_set = self._registry.find(info, cluster, namespace, name)
        if replica_set is None:
            return None
        pods = self._registry.info(cluster, "", "v1", "pods")
        owned = [
            pod
            for pod in self._registry.list(pods, cluster, namespace)
            if controlled_by(pod, replica_set)
        ]
        failure = ""
        if not replica_set["metadata"].get("deletionTimestamp"):
            failure = self._scale(cluster, replica_set, owned)
            owned = [
                pod
                for pod in self._registry.list(pods, cluster, namespace)
                if controlled_by(pod, replica_set)
            ]
        status, again = self._status(replica_set, owned, failure)
        if status != replica_set.get("status"):
            changed = {**replica_set, "status": status}
            self._registry.update(
                info, cluster, changed, subresource="status", field_manager=MANAGER
            )
        return _FULL_RETRY_SECONDS if failure else again

    def _scale(self, cluster: str, replica_set: Json, owned: list[Json]) -> str:
        """Take the number of Pods a step further; return why no more of them can be made."""
        active = [pod for pod in owned if _active(pod)]
        missing = desired(replica_set) - len(active)
        room = _MOST_PODS - self._registry.store.count("pods", cluster)
        info = self._registry.info(cluster, "", "v1", "pods")
        namespace = replica_set["metadata"]["namespace"]
        for _ in range(min(missing, room, _AT_ONCE)):
            pod = self._registry.create(
                info, cluster, namespace, _new_pod(replica_set), field_manager=MANAGER
            )
            name = pod["metadata"]["name"]
            self._events.event(cluster, replica_set, "SuccessfulCreate", f"Created pod: {name}")
        for pod in sorted(active, key=_deletion_rank)[: min(max(-missing, 0), _AT_ONCE)]:
            name = pod["metadata"]["name"]
            self._registry.delete(info, cluster, namespace, name)
            self._events.event(cluster, replica_set, "SuccessfulDelete", f"Deleted pod: {name}")
        if missing <= 0 or room > 0:
            return ""  # the events of what was done bring the next step
        name = replica_set["metadata"]["name"]
        return f'pods "{name}-" is forbidden: this server takes {_MOST_PODS} pods in a cluster'

    def _status(
        self, replica_set: Json, owned: list[Json], failure: str
    ) -> tuple[Json, float | None]:
        """Return the status, and when it may change without any event (minReadySeconds)."""
        active = [pod for pod in owned if _active(pod)]
        ready = [pod for pod in active if _ready_since(pod) is not None]
        minimum = float(replica_set["spec"].get("minReadySeconds") or 0)
        now = self._clock.time()
        ages = [now - (_ready_since(pod) or 0.0) for pod in ready]
        available = sum(1 for age in ages if age >= minimum)
        labels = (replica_set["spec"]["template"].get("metadata") or {}).get("labels") or {}
        labelled = sum(
            1 for pod in active if labels.items() <= (pod["metadata"].get("labels") or {}).items()
        )
        status = {
            "replicas": len(active),
            "fullyLabeledReplicas": labelled,
            "readyReplicas": len(ready),
            "availableReplicas": available,
            "observedGeneration": replica_set["metadata"].get("generation", 1),
        }
        status = {key: value for key, value in status.items() if value or key == "replicas"}
        status["terminatingReplicas"] = sum(
            1 for pod in owned if pod["metadata"].get("deletionTimestamp")
        )
        conditions = (replica_set.get("status") or {}).get("conditions") or []
        if failure:
            status["conditions"] = set_condition(
                conditions, REPLICA_FAILURE, "True", "FailedCreate", failure, now
            )
        waiting = [minimum - age for age in ages if age < minimum]
        return status, min(waiting) if waiting else None


def _controller(obj: Json) -> Json | None:
    """Return the reference to the owner that controls an object."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            found: Json = owner
            return found
    return None


def controlled_by(obj: Json, owner: Json) -> bool:
    """Whether ``owner`` is the controller of ``obj``."""
    reference = _controller(obj)
    return reference is not None and bool(reference["uid"] == owner["metadata"]["uid"])


def _active(pod: Json) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return phase not in _FINISHED and not pod["metadata"].get("deletionTimestamp")


def _ready_since(pod: Json) -> float | None:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] == "True":
            return parse_time(condition["lastTransitionTime"])
    return None


def _deletion_rank(pod: Json) -> tuple[bool, bool, list[int]]:
    """Order for scaling down: unscheduled first, then not ready, then the youngest."""
    created = parse_time(pod["metadata"]["creationTimestamp"])
    return (
        bool(pod["spec"].get("nodeName")),
        _ready_since(pod) is not None,
        [-int(created)],
    )


def _new_pod(replica_set: Json) -> Json:
    template = replica_set["spec"]["template"]
    metadata = template.get("metadata") or {}
    owner = replica_set["metadata"]
    pod_metadata: Json = {
        "generateName": f"{owner['name']}-",
        "namespace": owner["namespace"],
        "labels": {**(metadata.get("labels") or {})},
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": owner["name"],
                "uid": owner["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    for field in ("annotations", "finalizers"):
        if metadata.get(field):
            pod_metadata[field] = metadata[field]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": pod_metadata,
        "spec": template["spec"],
    }
