"""Namespaces: what each starts with, and how it ends."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from kcpctl.embedded.controllers.keyed import MANAGER, KeyedController
from kcpctl.embedded.registry import Event, Registry
from kcpctl.embedded.status import StatusError
from kcpctl.runtime import SYSTEM_CLOCK, Clock, format_time

__all__ = ["NamespaceController"]

Json = dict[str, Any]
_Key = tuple[str, str]
_FINALIZER: Final = "kubernetes"
_ROOT_CA: Final = "kube-root-ca.crt"
_ROOT_CA_NOTE: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)
_RECHECK_SECONDS: Final = 5.0  # events wake the key earlier; this is for what has none


class NamespaceController(KeyedController[_Key]):
    """Keeps ServiceAccount ``default`` and ConfigMap ``kube-root-ca.crt`` in every namespace.

    A Terminating namespace loses its content and then its finalizer; while objects with
    finalizers hold it up, its conditions say which. Event loop's thread only.
    """

    def __init__(self, registry: Registry, *, ca_pem: bytes, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__("namespaces", registry, clock=clock)
        self._ca = ca_pem.decode()
        self._terminating: set[_Key] = set()

    def start(self) -> None:
        """Begin, with the namespaces that exist."""
        for record in self._registry.clusters():
            info = self._registry.info(record.name, "", "v1", "namespaces")
            for namespace in self._registry.list(info, record.name):
                self._loop.add((record.name, namespace["metadata"]["name"]))
        super().start()

    def _changed(self, event: Event) -> None:
        if event.info.storage_key == "namespaces":
            self._loop.add((event.cluster, event.name))
            return
        key = (event.cluster, event.namespace)
        if key in self._terminating:
            if event.type != "ADDED":
                self._loop.add(key)
        elif event.type == "DELETED" and (event.info.storage_key, event.name) in _KEPT:
            self._loop.add(key)

    def reconcile(self, key: _Key) -> float | None:
        """Bring one namespace to what it should be."""
        cluster, name = key
        try:
            info = self._registry.info(cluster, "", "v1", "namespaces")
        except StatusError:  # the logical cluster is gone, and all its objects with it
            self._terminating.discard(key)
            return None
        namespace = self._registry.find(info, cluster, "", name)
        if namespace is None:
            self._terminating.discard(key)
            return None
        if not namespace["metadata"].get("deletionTimestamp"):
            self._fill(cluster, name)
            return None
        self._terminating.add(key)
        remaining, finalizers = self._empty(cluster, name)
        if not remaining:
            finalizers_left = [
                entry
                for entry in (namespace.get("spec") or {}).get("finalizers") or ()
                if entry != _FINALIZER
            ]
            finished = {**namespace, "spec": {**namespace["spec"], "finalizers": finalizers_left}}
            self._registry.update(
                info, cluster, finished, subresource="finalize", field_manager=MANAGER
            )
            return None
        self._report(cluster, namespace, remaining, finalizers)
        return _RECHECK_SECONDS

    def _fill(self, cluster: str, namespace: str) -> None:
        accounts = self._registry.info(cluster, "", "v1", "serviceaccounts")
        if self._registry.find(accounts, cluster, namespace, "default") is None:
            account = {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": namespace},
            }
            self._registry.create(accounts, cluster, namespace, account, field_manager=MANAGER)
        maps = self._registry.info(cluster, "", "v1", "configmaps")
        if self._registry.find(maps, cluster, namespace, _ROOT_CA) is None:
            config_map = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": _ROOT_CA,
                    "namespace": namespace,
                    "annotations": {"kubernetes.io/description": _ROOT_CA_NOTE},
                },
                "data": {"ca.crt": self._ca},
            }
            self._registry.create(maps, cluster, namespace, config_map, field_manager=MANAGER)

    def _empty(self, cluster: str, namespace: str) -> tuple[Counter[str], Counter[str]]:
        """Delete what is left; count what stays, by resource and by finalizer."""
        remaining: Counter[str] = Counter()
        finalizers: Counter[str] = Counter()
        done: set[str] = set()
        for info in self._registry.infos(cluster):
            if not info.namespaced or info.virtual or info.storage_key in done:
                continue
            done.add(info.storage_key)
            for obj in self._registry.list(info, cluster, namespace):
                metadata = obj["metadata"]
                if not metadata.get("deletionTimestamp"):
                    self._registry.delete(
                        info,
                        cluster,
                        namespace,
                        metadata["name"],
                        options={"propagationPolicy": "Background"},
                    )
                left = self._registry.find(info, cluster, namespace, metadata["name"])
                if left is not None:
                    remaining[f"{info.plural}.{info.group}"] += 1
                    finalizers.update(left["metadata"].get("finalizers") or ())
        return remaining, finalizers

    def _report(
        self,
        cluster: str,
        namespace: Json,
        remaining: Counter[str],
        finalizers: Counter[str],
    ) -> None:
        old = (namespace.get("status") or {}).get("conditions") or ()
        conditions = _conditions(old, remaining, finalizers, format_time(self._clock.time()))
        changed = {**namespace, "status": {"conditions": conditions, "phase": "Terminating"}}
        info = self._registry.info(cluster, "", "v1", "namespaces")
        self._registry.update(info, cluster, changed, subresource="status", field_manager=MANAGER)


_KEPT: Final = {("serviceaccounts", "default"), ("configmaps", _ROOT_CA)}


def _conditions(
    old: Any, remaining: Counter[str], finalizers: Counter[str], now: str
) -> list[Json]:
    """Return the five conditions that a real server's namespace controller writes."""
    content = ", ".join(
        f"{resource} has {count} resource instances"
        for resource, count in sorted(remaining.items())
    )
    held = ", ".join(
        f"{finalizer} in {count} resource instances"
        for finalizer, count in sorted(finalizers.items())
    )
    wanted = [
        (
            "NamespaceDeletionDiscoveryFailure",
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            "True",
            "SomeResourcesRemain",
            f"Some resources are remaining: {content}",
        ),
        (
            "NamespaceFinalizersRemaining",
            "True" if held else "False",
            "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
            f"Some content in the namespace has finalizers remaining: {held}"
            if held
            else "All content-preserving finalizers finished",
        ),
    ]
    before = {condition["type"]: condition for condition in old}
    return [
        {
            "type": kind,
            "status": status,
            "lastTransitionTime": before[kind]["lastTransitionTime"]
            if kind in before and before[kind]["status"] == status
            else now,
            "reason": reason,
            "message": message,
        }
        for kind, status, reason, message in wanted
    ]
