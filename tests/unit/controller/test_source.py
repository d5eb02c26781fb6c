"""Events become keys with a priority."""

from __future__ import annotations

import pytest

from kcpctl.controller.mapping import own_key
from kcpctl.controller.source import EnqueueHandler
from kcpctl.informers import CachedObject, ObjectMetadata
from kcpctl.logicalcluster import ROOT
from kcpctl.testing.listerwatcher import cached_object
from kcpctl.workqueue import Priority, RateLimitingQueue


def thing(name: str, version: str = "1") -> CachedObject:
    return cached_object(f"root|{name}", ROOT, ObjectMetadata(name=name, resource_version=version))


@pytest.fixture
def queue() -> RateLimitingQueue[str]:
    return RateLimitingQueue(ordering=Priority())


@pytest.fixture
def handler(queue: RateLimitingQueue[str]) -> EnqueueHandler:
    return EnqueueHandler(queue, map_to=own_key, predicates=())


def test_the_initial_list_and_resyncs_stay_behind_what_happens(
    queue: RateLimitingQueue[str], handler: EnqueueHandler
) -> None:
    """PQ-09, MCR-05 mended."""
    handler.on_add(thing("listed"), is_initial=True)
    handler.on_update(thing("resynced", "4"), thing("resynced", "4"))
    handler.on_add(thing("created"), is_initial=False)
    handler.on_update(thing("updated", "4"), thing("updated", "5"))
    handler.on_delete(thing("deleted"), final_state_unknown=True)
    order = [queue.get(0) for _ in range(5)]
    assert order == [f"root|{n}" for n in ["created", "updated", "deleted", "listed", "resynced"]]


def test_an_event_raises_a_key_of_the_initial_list(
    queue: RateLimitingQueue[str], handler: EnqueueHandler
) -> None:
    """PQ-03, PQ-09."""
    handler.on_add(thing("a"), is_initial=True)
    handler.on_add(thing("b"), is_initial=True)
    handler.on_update(thing("b", "1"), thing("b", "2"))
    assert queue.get(0) == "root|b"
