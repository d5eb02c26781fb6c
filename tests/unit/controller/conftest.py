from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from kcpctl.apis.meta import OwnerReference
from kcpctl.controller import Controller, Request, Result
from kcpctl.informers import CachedObject, EventHandler, ObjectMetadata
from kcpctl.logicalcluster import key_of
from kcpctl.runtime import Metrics
from kcpctl.testing import FakeClock, eventually
from kcpctl.testing.listerwatcher import cached_object


def cached(name: str = "web", *, cluster: str = "root", **meta: Any) -> CachedObject:
    owners = [msgspec.convert(owner, OwnerReference) for owner in meta.pop("owners", ())]
    metadata = ObjectMetadata(name=name, owner_references=tuple(owners), **meta)
    key = key_of(cluster, metadata.namespace, name)
    return cached_object(key, cluster, metadata)


class FakeRegistration:
    def __init__(self) -> None:
        self.synced = False
        self.removed = False

    def wait_for_sync(self, timeout_seconds: float) -> None:
        pass

    def remove(self) -> None:
        self.removed = True


class FakeInformer:
    def __init__(self, description: str = "deployments.apps of root") -> None:
        self.description = description
        self.resync_seconds = 0.0
        self.handlers: list[EventHandler] = []
        self.registrations: list[FakeRegistration] = []

    def add_handler(
        self, handler: EventHandler, *, resync_seconds: float = 0.0
    ) -> FakeRegistration:
        self.resync_seconds = resync_seconds
        self.handlers.append(handler)
        self.registrations.append(FakeRegistration())
        return self.registrations[-1]

    def sync(self, *objects: CachedObject) -> None:
        for handler, registration in zip(self.handlers, self.registrations, strict=True):
            for obj in objects:
                handler.on_add(obj, is_initial=True)
            registration.synced = True

    def update(self, old: CachedObject, new: CachedObject) -> None:
        for handler in self.handlers:
            handler.on_update(old, new)

    def delete(self, obj: CachedObject) -> None:
        for handler in self.handlers:
            handler.on_delete(obj, final_state_unknown=False)


Answer = Result | BaseException | Callable[[Request], Result | None] | None


class Bench:
    """A controller whose reconciles do what the test says, in turn; the last answer stays."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.answers: list[Answer] = [None]
        self.requests: queue.Queue[Request] = queue.Queue()
        self.informer = FakeInformer()
        self.controller = self.new_controller()

    cached = staticmethod(cached)

    def new_controller(self, name: str = "test", workers: int = 1, **options: Any) -> Controller:
        return Controller(
            name, self, workers=workers, clock=self.clock, metrics=self.metrics, **options
        )

    def reconcile(self, request: Request) -> Result | None:
        self.requests.put(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer(request) if callable(answer) else answer

    def start(self, *answers: Answer) -> None:
        self.answers = list(answers) or [None]
        self.controller.start()

    def next(self) -> Request:
        return self.requests.get(timeout=5)

    def run(self, key: str = "root|default/web") -> None:
        """Let one reconcile of the key begin and end."""
        before = self.total()
        self.controller.enqueue(key)
        self.settled(before + 1)

    def total(self) -> float:
        results = ("success", "error", "requeue", "requeue_after")
        return sum(
            self.metric("controller_runtime_reconcile_total", result=result) for result in results
        )

    def settled(self, total: float) -> None:
        """Wait until so many reconciles have ended, with all that follows."""
        eventually(
            lambda: self.total() == total and not self.controller.queue.snapshot().processing,
            poll_seconds=0.001,
        )

    def waiting(self) -> dict[str, float]:
        return self.controller.queue.snapshot().waiting

    def metric(self, name: str, **labels: str) -> float:
        labels = {"controller": "test", **labels}
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def make() -> Callable[..., CachedObject]:
    """Makes cached objects: ``make("web", namespace="default", generation=2)``."""
    return cached


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.controller.stop(0)
