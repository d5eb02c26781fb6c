"""Predicates: which events of an informer are worth a reconcile."""

from __future__ import annotations

from typing import Protocol

from kcpctl.informers import CachedObject

__all__ = [
    "AnnotationChanged",
    "GenerationChanged",
    "LabelChanged",
    "Predicate",
    "ResourceVersionChanged",
    "all_of",
    "any_of",
    "not_",
]


class Predicate(Protocol):
    """Says whether an event counts. Called on the I/O thread; must not block.

    ``old`` is None for an object that came, ``new`` for one that went; never both.
    """

    def __call__(self, old: CachedObject | None, new: CachedObject | None) -> bool:
        """Return whether to reconcile."""


class GenerationChanged:
    """Updates of the spec only; a deletion that began counts too. Adds and deletes pass.

    For kinds whose server keeps no generation (ConfigMaps) no update ever passes.
    """

    def __call__(self, old: CachedObject | None, new: CachedObject | None) -> bool:
        """Return whether the spec changed."""
        if old is None or new is None:
            return True
        return (old.generation, old.uid, old.deletion_timestamp) != (
            new.generation,
            new.uid,
            new.deletion_timestamp,
        )


class LabelChanged:
    """Updates that change a label. Adds and deletes pass."""

    def __call__(self, old: CachedObject | None, new: CachedObject | None) -> bool:
        """Return whether the labels changed."""
        return old is None or new is None or old.meta.labels != new.meta.labels


class AnnotationChanged:
    """Updates that change an annotation. Adds and deletes pass."""

    def __call__(self, old: CachedObject | None, new: CachedObject | None) -> bool:
        """Return whether the annotations changed."""
        return old is None or new is None or old.meta.annotations != new.meta.annotations


class ResourceVersionChanged:
    """Updates that change anything: what a re-list delivers again unchanged does not pass."""

    def __call__(self, old: CachedObject | None, new: CachedObject | None) -> bool:
        """Return whether the object changed at all."""
        return old is None or new is None or old.resource_version != new.resource_version


def any_of(*predicates: Predicate) -> Predicate:
    """Return a predicate that passes what at least one of ``predicates`` passes."""
    return lambda old, new: any(predicate(old, new) for predicate in predicates)


def all_of(*predicates: Predicate) -> Predicate:
    """Return a predicate that passes what every one of ``predicates`` passes."""
    return lambda old, new: all(predicate(old, new) for predicate in predicates)


def not_(predicate: Predicate) -> Predicate:
    """Return a predicate that passes what ``predicate`` holds back."""
    return lambda old, new: not predicate(old, new)
