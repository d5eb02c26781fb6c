"""The whole queue against a model of thirty lines, under random operations."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kcpctl.testing import FakeClock
from kcpctl.workqueue import ItemFastSlow, RateLimitingQueue, ShutDown

KEYS = st.sampled_from("abcd")


class Model:
    def __init__(self) -> None:
        self.now = 0.0
        self.ready: list[str] = []
        self.again: list[str] = []
        self.waiting: dict[str, tuple[float, int]] = {}
        self.processing: set[str] = set()
        self.failures: dict[str, int] = {}
        self.down = False
        self.count = 0

    def add(self, key: str) -> None:
        if self.down:
            return
        self.waiting.pop(key, None)
        if key in self.processing:
            self.again += [] if key in self.again else [key]
        elif key not in self.ready:
            self.ready.append(key)

    def add_after(self, key: str, seconds: float) -> None:
        self.count += 1
        if seconds <= 0:
            self.add(key)
        elif not self.down:
            plan = (self.now + seconds, self.count)
            if key not in self.waiting or plan[0] < self.waiting[key][0]:
                self.waiting[key] = plan

    def fire(self) -> None:
        due = sorted((plan, key) for key, plan in self.waiting.items() if plan[0] <= self.now)
        for _, key in due:
            self.add(key)

    def done(self, key: str) -> None:
        self.processing.discard(key)
        if key in self.again:
            self.again.remove(key)
            self.ready.append(key)


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.queue: RateLimitingQueue[str] = RateLimitingQueue(
            limiter=ItemFastSlow(1, 4, 2), clock=self.clock
        )
        self.model = Model()

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.model.add(key)

    @rule(key=KEYS, seconds=st.integers(-1, 5))
    def add_after(self, key: str, seconds: int) -> None:
        self.queue.add_after(key, seconds)
        self.model.add_after(key, seconds)

    @rule(key=KEYS)
    def add_rate_limited(self, key: str) -> None:
        failures = self.model.failures[key] = self.model.failures.get(key, 0) + 1
        self.queue.add_rate_limited(key)
        self.model.add_after(key, 1 if failures <= 2 else 4)
        assert self.queue.num_requeues(key) == failures

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.model.failures.pop(key, None)

    @rule(seconds=st.integers(1, 3))
    def step(self, seconds: int) -> None:
        self.clock.step(seconds)
        self.model.now += seconds
        self.model.fire()

    @precondition(lambda self: self.model.ready)
    @rule()
    def get(self) -> None:
        key = self.queue.get(0)
        assert key == self.model.ready.pop(0)
        assert key not in self.model.processing, "handed out twice"
        self.model.processing.add(key)

    @precondition(lambda self: not self.model.ready)
    @rule()
    def get_nothing(self) -> None:
        with pytest.raises(ShutDown if self.model.down else TimeoutError):
            self.queue.get(0)

    @rule(key=KEYS)
    def done(self, key: str) -> None:
        if key in self.model.processing:
            self.queue.done(key)
            self.model.done(key)
        else:
            with pytest.raises(ValueError, match="not handed out"):
                self.queue.done(key)

    @precondition(lambda self: self.model.count > 8)
    @rule(drain=st.booleans())
    def shut_down(self, drain: bool) -> None:
        self.model.down = True
        self.model.waiting.clear()
        if drain:
            idle = not (self.model.ready or self.model.processing)
            assert self.queue.shut_down_with_drain(0) is idle
        else:
            self.queue.shut_down()

    @invariant()
    def equal(self) -> None:
        snapshot = self.queue.snapshot()
        assert set(snapshot.queued) == {*self.model.ready, *self.model.again}
        assert len(self.queue) == len(self.model.ready)
        assert set(snapshot.processing) == self.model.processing
        now = self.model.now
        assert snapshot.waiting == {
            key: due - now for key, (due, _) in self.model.waiting.items() if due > now
        }


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
