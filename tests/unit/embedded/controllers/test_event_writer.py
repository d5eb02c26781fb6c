from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.controllers import event_writer
from kcpctl.embedded.controllers.event_writer import EventWriter
from kcpctl.embedded.registry import Registry


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def pod(registry: Registry) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    body = {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}
    info = registry.info("root", "", "v1", "pods")
    return {"apiVersion": "v1", "kind": "Pod", **registry.create(info, "root", "default", body)}


def counts(registry: Registry) -> list[tuple[str, int]]:
    info = registry.info("root", "", "v1", "events")
    return sorted((one["message"], one["count"]) for one in registry.list(info, "root"))


def test_what_is_said_again_counts_up(registry: Registry, pod: dict[str, Any]) -> None:
    writer = EventWriter(registry, "test")
    for message in ("one", "two", "one"):
        writer.event("root", pod, "Because", message)
    assert counts(registry) == [("one", 2), ("two", 1)]


def test_an_event_that_somebody_removed_begins_anew(
    registry: Registry, pod: dict[str, Any]
) -> None:
    writer = EventWriter(registry, "test")
    info = registry.info("root", "", "v1", "events")
    writer.event("root", pod, "Because", "one")
    (found,) = registry.list(info, "root")
    registry.delete(info, "root", "default", found["metadata"]["name"])
    writer.event("root", pod, "Because", "one")
    assert counts(registry) == [("one", 1)]


def test_only_the_last_ones_are_remembered(
    registry: Registry, pod: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_writer, "_REMEMBERED", 2)
    writer = EventWriter(registry, "test")
    for message in ("one", "two", "one", "three", "one", "two"):
        writer.event("root", pod, "Because", message)
    assert counts(registry) == [("one", 3), ("three", 1), ("two", 1), ("two", 1)]
