"""Which upstream objects the owner of a SyncTarget lets onto its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from kcpctl.apis import label_selector
from kcpctl.apis.resource import Resource

__all__ = ["EVERYTHING", "Admission"]


@dataclass(frozen=True, slots=True)
class Admission:
    """``spec.supportedResourceTypes`` and ``spec.selector`` of a SyncTarget, as one rule.

    A value without behaviour of its own: equal ones let in the same objects. Of the selector
    ``locations`` takes no part: objects ask schedulers for locations, and no syncer.
    """

    types: frozenset[str] = frozenset()
    selector: Mapping[str, Any] = field(default_factory=dict)
    namespace_selector: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Self:
        """Return what a SyncTarget's spec says; ValueError names the field that makes no sense."""
        types = spec.get("supportedResourceTypes") or ()
        if not isinstance(types, list | tuple) or not all(isinstance(one, str) for one in types):
            raise ValueError("spec.supportedResourceTypes is no list of names")
        selector = spec.get("selector") or {}
        if why := label_selector.problem(selector, "spec.selector"):
            raise ValueError(why)
        namespaces = selector.get("namespaceSelector") or {}
        if why := label_selector.problem(namespaces, "spec.selector.namespaceSelector"):
            raise ValueError(why)
        return cls(frozenset(types), _rules(selector), _rules(namespaces))

    def refusal(
        self,
        resource: Resource,
        labels: Mapping[str, str],
        namespace_labels: Mapping[str, str] | None,
    ) -> str:
        """Return the field that keeps an object out, or "".

        ``namespace_labels`` is None for a namespace that is not known: where namespaces are
        chosen, that is none of them.
        """
        if not self.has_type(resource):
            return "spec.supportedResourceTypes"
        if not label_selector.selects(self.selector, labels):
            return "spec.selector"
        return self.namespace_refusal(namespace_labels)

    def has_type(self, resource: Resource) -> bool:
        """Whether objects of that type are let in at all."""
        return not self.types or bool(self.types & _names(resource))

    def namespace_refusal(self, labels: Mapping[str, str] | None) -> str:
        """Return the field that keeps everything in a namespace out, or ""."""
        if not self.namespace_selector:
            return ""
        if labels is not None and label_selector.selects(self.namespace_selector, labels):
            return ""
        return "spec.selector.namespaceSelector"


EVERYTHING: Final = Admission()
"""What a SyncTarget without restrictions lets in."""


def _rules(selector: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part that decides, without empty rules: so equal is what means the same."""
    return {key: selector[key] for key in ("matchLabels", "matchExpressions") if selector.get(key)}


def _names(resource: Resource) -> frozenset[str]:
    """Return how an entry may name a type: with and without its version; core has no group."""
    group = (resource.group,) if resource.group else ()
    return frozenset(
        {".".join((resource.plural, *group)), ".".join((resource.plural, resource.version, *group))}
    )
