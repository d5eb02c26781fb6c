from __future__ import annotations

from collections.abc import Callable

import pytest

from kcpctl.controller import (
    AnnotationChanged,
    GenerationChanged,
    LabelChanged,
    Predicate,
    ResourceVersionChanged,
    all_of,
    any_of,
    not_,
)
from kcpctl.informers import CachedObject

Make = Callable[..., CachedObject]

EVERY = [GenerationChanged(), LabelChanged(), AnnotationChanged(), ResourceVersionChanged()]


@pytest.mark.parametrize("predicate", EVERY, ids=lambda predicate: type(predicate).__name__)
def test_adds_and_deletes_pass_and_an_unchanged_object_does_not(
    make: Make, predicate: Predicate
) -> None:
    assert predicate(None, make())
    assert predicate(make(), None)
    assert not predicate(make(), make())


@pytest.mark.parametrize(
    ("predicate", "change"),
    [
        (GenerationChanged(), {"generation": 2}),
        (GenerationChanged(), {"uid": "other"}),
        (GenerationChanged(), {"deletion_timestamp": "2026-01-01T00:00:00Z"}),
        (LabelChanged(), {"labels": {"a": "b"}}),
        (AnnotationChanged(), {"annotations": {"a": "b"}}),
        (ResourceVersionChanged(), {"resource_version": "2"}),
    ],
)
def test_each_passes_what_it_is_about(
    make: Make, predicate: Predicate, change: dict[str, object]
) -> None:
    assert predicate(make(), make(**change))
    assert predicate(make(**change), make())


def test_a_change_of_status_alone_is_no_new_generation(make: Make) -> None:
    old = make(generation=3, resource_version="7")
    assert not GenerationChanged()(old, make(generation=3, resource_version="8"))


def yes(old: CachedObject | None, new: CachedObject | None) -> bool:
    return True


@pytest.mark.parametrize(
    ("predicate", "passes"),
    [
        (any_of(yes, not_(yes)), True),
        (any_of(not_(yes)), False),
        (any_of(), False),
        (all_of(yes, yes), True),
        (all_of(yes, not_(yes)), False),
        (all_of(), True),
        (not_(not_(yes)), True),
    ],
)
def test_predicates_combine(make: Make, predicate: Predicate, passes: bool) -> None:
    assert predicate(make(), make()) is passes
