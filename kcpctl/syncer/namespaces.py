"""Downstream namespaces: which one stands for which upstream namespace (3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import (
    CLUSTER_LABEL,
    LOCATOR_ANNOTATION,
    TENANT_LABEL,
    NamespaceLocator,
    downstream_namespace,
    tenant_id,
)
from kcpctl.apis.resource import NAMESPACES
from kcpctl.errors import AlreadyExists, KcpctlError, NotFound
from kcpctl.informers import CachedObject
from kcpctl.runtime import get_logger
from kcpctl.syncer.gate import Gate
from kcpctl.syncer.side import Side
from kcpctl.syncer.target import FIELD_MANAGER, Target

__all__ = [
    "LOCATOR_INDEX",
    "NamespaceCollision",
    "NamespaceMapper",
    "NamespaceTerminating",
    "by_locator",
    "locator_of",
]

_log = get_logger(__name__)

LOCATOR_INDEX = "syncer-locator"


class NamespaceCollision(KcpctlError):
    """A downstream namespace is not ours to use; only a person can mend that."""


class NamespaceTerminating(KcpctlError):
    """The downstream namespace is on its way out; it is made anew when it has gone."""

    retryable = True


def locator_of(annotations: Mapping[str, str]) -> NamespaceLocator | None:
    """Return the locator of a downstream namespace (v0.6.0's too); None if it has no good one."""
    text = annotations.get(LOCATOR_ANNOTATION)
    if text is None:
        return None
    try:
        return NamespaceLocator.from_json(text)
    except ValueError:
        return None


def by_locator(obj: CachedObject) -> Iterable[str]:
    """Index downstream namespaces by their locator, in its present spelling."""
    locator = locator_of(obj.meta.annotations)
    return () if locator is None else (locator.to_json(),)


class NamespaceMapper:
    """Finds, makes and repairs the downstream namespaces of one target. Any worker thread.

    Never adopts: a namespace of the computed name whose locator is missing or another one is a
    NamespaceCollision, and so are two namespaces with the same locator; then nothing is written.
    Of drift only the labels are mended, and only the two that are ours.
    """

    def __init__(self, target: Target, gate: Gate, downstream: Side) -> None:
        self._target = target
        self._gate = gate
        self._downstream = downstream
        self._client = downstream.client.resource(NAMESPACES)

    def cached(self, namespace: str) -> list[CachedObject]:
        """Return the downstream namespaces that stand for an upstream one, as far as known."""
        locator = self._target.locator(namespace).to_json()
        return list(self._downstream.namespaces.cached_by_index(LOCATOR_INDEX, locator))

    def names(self, namespace: str) -> list[str]:
        """Return the names under which copies may be found, for a removal."""
        found = [obj.meta.name for obj in self.cached(namespace)]
        return found or [downstream_namespace(self._target.locator(namespace))]

    def upstream_of(self, name: str) -> str | None:
        """Return the upstream namespace that a downstream one stands for; None: not ours (3.6)."""
        found = self._downstream.namespace(name)
        return None if found is None else self.named_by(found)

    def named_by(self, copy: CachedObject) -> str | None:
        """Return the upstream namespace that a downstream one names; None: not ours."""
        locator = locator_of(copy.meta.annotations)
        owned = locator is not None and self._target.owns(locator)
        return locator.namespace if locator is not None and owned else None

    def ensure(self, namespace: str) -> str:
        """Return the name of the downstream namespace, made or mended if need be.

        Raises NamespaceCollision and NamespaceTerminating.
        """
        found = self.cached(namespace)
        if len(found) > 1:
            names = ", ".join(sorted(obj.meta.name for obj in found))
            raise NamespaceCollision(
                f"upstream namespace {namespace!r} has several namespaces downstream ({names}); "
                "delete all but one"
            )
        if not found:
            return self._find_or_create(namespace)
        meta = found[0].meta
        if meta.deletion_timestamp is not None:
            raise NamespaceTerminating(f"downstream namespace {meta.name!r} is terminating")
        self._repair(namespace, meta.name, meta.labels)
        return meta.name

    def _find_or_create(self, namespace: str) -> str:
        """The cache has none: it may lag, or the namespace may have lost our label."""
        locator = self._target.locator(namespace)
        name = downstream_namespace(locator)
        try:
            live = self._client.get(name)
        except NotFound:
            live = None
        if live is None:
            self._gate.reconfirm()
            try:
                self._client.create(self._manifest(name, locator), field_manager=FIELD_MANAGER)
            except AlreadyExists:
                live = self._client.get(name)
            else:
                _log.info("Created a namespace", upstream=namespace, downstream=name)
                return name
        metadata = live["metadata"]
        found = locator_of(metadata.get("annotations") or {})
        if found is None or found.to_json() != locator.to_json():
            what = "no locator" if found is None else "another locator"
            raise NamespaceCollision(
                f"downstream namespace {name!r}, wanted for upstream namespace {namespace!r}, "
                f"exists with {what}; delete or rename it"
            )
        if metadata.get("deletionTimestamp"):
            raise NamespaceTerminating(f"downstream namespace {name!r} is terminating")
        self._repair(namespace, name, metadata.get("labels") or {})
        return name

    def _labels(self, locator: NamespaceLocator) -> dict[str, str]:
        return {CLUSTER_LABEL: self._target.key, TENANT_LABEL: tenant_id(locator)}

    def _manifest(self, name: str, locator: NamespaceLocator) -> Unstructured:
        return {
            "apiVersion": NAMESPACES.api_version,
            "kind": NAMESPACES.kind,
            "metadata": {
                "name": name,
                "labels": self._labels(locator),
                "annotations": {LOCATOR_ANNOTATION: locator.to_json()},
            },
        }

    def _repair(self, namespace: str, name: str, labels: Mapping[str, str]) -> None:
        """Row 29."""
        wanted = self._labels(self._target.locator(namespace))
        drift = {key: value for key, value in wanted.items() if labels.get(key) != value}
        if drift:
            self._gate.reconfirm()
            self._client.patch(name, {"metadata": {"labels": drift}}, field_manager=FIELD_MANAGER)
            _log.info("Repaired a namespace's labels", downstream=name, labels=sorted(drift))
