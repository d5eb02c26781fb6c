"""The whole queue against a simple model, under random operations, with every ordering."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kcpctl.testing import FakeClock
from kcpctl.workqueue import (
    Fair,
    Fifo,
    ItemFastSlow,
    Ordering,
    Priority,
    RateLimitingQueue,
    ShutDown,
)

KEYS = st.sampled_from(["a|1", "a|2", "a|3", "b|1", "b|2", "c|1"])
PRIORITIES = st.sampled_from([-100, 0, 0, 5])
WEIGHTS = {"a": 3}


class SimpleFifo:
    """What is ready, as key and priority in the order of arrival, and who is next."""

    def __init__(self) -> None:
        self.ready: dict[str, int] = {}

    def pop(self, processing: set[str]) -> str | None:
        if (key := self.choose(processing)) is not None:
            del self.ready[key]
        return key

    def choose(self, processing: set[str]) -> str | None:
        return next(iter(self.ready), None)

    def arrange(self, processing: set[str]) -> None:
        """Note that something changed."""


class SimplePriority(SimpleFifo):
    def __init__(self) -> None:
        super().__init__()
        self.passed_over: dict[int, int] = {}

    def choose(self, processing: set[str]) -> str | None:
        levels = sorted(set(self.ready.values()))
        self.passed_over = {level: self.passed_over.get(level, 0) for level in levels}
        if not levels:
            return None
        aged = [level for level in levels if self.passed_over[level] >= 8]
        chosen = (aged or levels[-1:])[0]
        for level in levels:
            self.passed_over[level] += level < chosen
        self.passed_over[chosen] = 0
        return next(key for key, level in self.ready.items() if level == chosen)


class SimpleFair(SimpleFifo):
    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.turns: list[str] = []
        self.credit: dict[str, int] = {}
        self.inner: dict[str, SimplePriority] = {}

    def arrange(self, processing: set[str]) -> None:
        """Whoever may be served takes part: with a turn begun in front, otherwise last."""
        for name in list(dict.fromkeys(key[0] for key in self.ready)):
            free = sum(key[0] == name for key in processing) < self.most
            if free and name not in self.turns:
                self.turns.insert(0 if self.credit.get(name) else len(self.turns), name)
            elif not free and name in self.turns:
                self.turns.remove(name)

    def choose(self, processing: set[str]) -> str | None:
        self.arrange(processing)
        if not self.turns:
            return None
        name = self.turns[0]
        inner = self.inner.setdefault(name, SimplePriority())
        inner.ready = {key: level for key, level in self.ready.items() if key[0] == name}
        key = inner.pop(processing)
        assert key is not None
        self.credit[name] = (self.credit.get(name) or WEIGHTS.get(name, 1)) - 1
        if not inner.ready:
            self.turns.remove(name)
            del self.credit[name], self.inner[name]
        elif not self.credit[name]:
            self.turns.append(self.turns.pop(0))
        return key


class Model:
    def __init__(self, ordering: SimpleFifo) -> None:
        self.now = 0.0
        self.ordering = ordering
        self.ready = ordering.ready
        self.again: dict[str, int] = {}
        self.waiting: dict[str, tuple[float, int, int]] = {}
        self.processing: set[str] = set()
        self.running_priority: dict[str, int] = {}
        self.removed: set[str] = set()
        self.failures: dict[str, int] = {}
        self.down = False
        self.count = 0

    def add(self, key: str, priority: int) -> None:
        if self.down:
            return
        if key in self.waiting:
            priority = max(priority, self.waiting.pop(key)[2])
        queued = self.again if key in self.processing else self.ready
        queued[key] = max(queued.get(key, priority), priority)
        self.ordering.arrange(self.processing)

    def add_after(self, key: str, seconds: float, priority: int | None) -> None:
        if key in self.removed:
            self.failures.pop(key, None)
            return
        self.count += 1
        if priority is None:
            priority = self.running_priority.get(key, 0)
        if seconds <= 0:
            self.add(key, priority)
        elif not self.down:
            due, order = self.now + seconds, self.count
            if key in self.waiting:
                before = self.waiting[key]
                priority = max(priority, before[2])
                if before[0] <= due:
                    due, order = before[:2]
            self.waiting[key] = (due, order, priority)

    def fire(self) -> None:
        due = sorted((plan, key) for key, plan in self.waiting.items() if plan[0] <= self.now)
        for plan, key in due:
            del self.waiting[key]
            self.add(key, plan[2])

    def get(self) -> str | None:
        before = dict(self.ready)
        key = self.ordering.pop(self.processing)
        if key is not None:
            self.processing.add(key)
            self.running_priority[key] = before[key]
            self.ordering.arrange(self.processing)
        return key

    def done(self, key: str) -> None:
        self.processing.discard(key)
        self.removed.discard(key)
        del self.running_priority[key]
        # The cluster's place is free before the key is queued again.
        self.ordering.arrange(self.processing)
        if key in self.again:
            self.ready[key] = self.again.pop(key)
            self.ordering.arrange(self.processing)

    def remove(self, name: str) -> None:
        self.removed |= {key for key in self.processing if key[0] == name}
        for keys in (self.ready, self.again, self.waiting):
            for key in [key for key in keys if key[0] == name]:
                del keys[key]
        if isinstance(self.ordering, SimpleFair):
            self.ordering.credit.pop(name, None)
            self.ordering.inner.pop(name, None)
            self.ordering.turns = [turn for turn in self.ordering.turns if turn != name]


class QueueMachine(RuleBasedStateMachine):
    """One thread; ``test_interleavings`` has several."""

    def orderings(self) -> tuple[Ordering[str], SimpleFifo]:
        return Fifo(), SimpleFifo()

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        ordering, simple = self.orderings()
        self.queue: RateLimitingQueue[str] = RateLimitingQueue(
            limiter=ItemFastSlow(1, 4, 2), clock=self.clock, ordering=ordering
        )
        self.model = Model(simple)

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: str, priority: int) -> None:
        self.queue.add(key, priority)
        self.model.add(key, priority)

    @rule(key=KEYS, seconds=st.integers(-1, 5), priority=st.none() | PRIORITIES)
    def add_after(self, key: str, seconds: int, priority: int | None) -> None:
        self.queue.add_after(key, seconds, priority)
        self.model.add_after(key, seconds, priority)

    @rule(key=KEYS)
    def add_rate_limited(self, key: str) -> None:
        failures = self.model.failures[key] = self.model.failures.get(key, 0) + 1
        self.queue.add_rate_limited(key)
        self.model.add_after(key, 1 if failures <= 2 else 4, None)
        assert self.queue.num_requeues(key) == self.model.failures.get(key, 0)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.model.failures.pop(key, None)

    @rule(seconds=st.integers(1, 3))
    def step(self, seconds: int) -> None:
        self.clock.step(seconds)
        self.model.now += seconds
        self.model.fire()

    @rule()
    def get(self) -> None:
        if (expected := self.model.get()) is not None:
            assert self.queue.get(0) == expected
            return
        with pytest.raises(ShutDown if self.model.down and not self.model.ready else TimeoutError):
            self.queue.get(0)

    @precondition(lambda self: self.model.processing)
    @rule(data=st.data())
    def done_with_one(self, data: st.DataObject) -> None:
        self.done(data.draw(st.sampled_from(sorted(self.model.processing))))

    @rule(name=st.sampled_from("abc"))
    def remove_cluster(self, name: str) -> None:
        self.queue.remove_cluster(name)
        self.model.remove(name)
        for key in [key for key in self.model.failures if key[0] == name]:
            del self.model.failures[key]

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
            key: due - now for key, (due, _, _) in self.model.waiting.items() if due > now
        }


class PriorityMachine(QueueMachine):
    def orderings(self) -> tuple[Ordering[str], SimpleFifo]:
        return Priority(), SimplePriority()


class FairMachine(QueueMachine):
    def orderings(self) -> tuple[Ordering[str], SimpleFifo]:
        return Fair(weights=WEIGHTS), SimpleFair(100)


class LimitedMachine(QueueMachine):
    def orderings(self) -> tuple[Ordering[str], SimpleFifo]:
        return Fair(weights=WEIGHTS, max_per_cluster=2), SimpleFair(2)


RUNS = settings(max_examples=60, stateful_step_count=40)
TestFifo = QueueMachine.TestCase
TestFifo.settings = RUNS
TestPriority = PriorityMachine.TestCase
TestPriority.settings = RUNS
TestFair = FairMachine.TestCase
TestFair.settings = RUNS
TestLimited = LimitedMachine.TestCase
TestLimited.settings = RUNS
