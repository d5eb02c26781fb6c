"""``remove(cluster)`` at any moment: nothing of the cluster is left, nothing of the others lost."""

from __future__ import annotations

import contextvars
import random
import threading
from collections import Counter
from typing import Self

from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import Write
from kcpctl.client.writes import note_write
from kcpctl.controller import Controller, Request, Result
from kcpctl.errors import Conflict, NotConnected, TerminalError, TransportTimeout
from kcpctl.informers import EventHandler
from kcpctl.runtime import start_thread
from kcpctl.testing import FakeClock, eventually
from tests.unit.controller.conftest import FakeInformer, FakeRegistration

ANSWER = b'{"metadata":{"name":"x","uid":"u","resourceVersion":"11"}}'
KEYS = st.sampled_from(["gone|1", "stays|1"])
ENDS = st.sampled_from(
    [
        None,
        Result(requeue_after_seconds=0),
        Result(requeue_after_seconds=3),
        TransportTimeout("later"),
        Conflict("no"),
        NotConnected("x", state="Disconnected", since=0.0),
        TerminalError("never"),
        ValueError("a bug"),
    ]
)
# What happens while a reconcile runs, or between two.
EVENTS = st.tuples(st.just("add"), KEYS) | st.just(("remove", "gone"))
RUNS = st.tuples(st.lists(EVENTS, max_size=3), st.booleans(), ENDS)
STEPS = EVENTS | RUNS | st.floats(0, 40)


class Cache:
    """An informer that never gets beyond version 10."""

    description = "configmaps"
    spans_clusters = True
    resource_version = "10"

    def __init__(self) -> None:
        self._informer = FakeInformer()

    def add_handler(
        self, handler: EventHandler, *, resync_seconds: float = 0.0
    ) -> FakeRegistration:
        return self._informer.add_handler(handler, resync_seconds=resync_seconds)

    def cache_of(self, write: Write) -> Self | None:
        return self


class Machine:
    """A controller with one worker, that this thread plays; reconciles do what is drawn."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.controller = Controller("test", self, workers=2, clock=self.clock).watches(Cache())
        self.worker = self.controller._new_worker()
        self.script: tuple[list[tuple[str, str]], bool, object] = ([], False, None)
        # Added after the last removal.
        self.added: set[str] = set()
        self.made: set[str] = set()
        self.controller.on_removal(
            lambda belongs: self.made.difference_update([key for key in self.made if belongs(key)])
        )

    def reconcile(self, request: Request) -> Result | None:
        events, writes, end = self.script
        self.made.add(request.key)
        for name, what in events:
            self.happen(name, what)
        if writes:
            note_write("https://s", "https://s", CONFIG_MAPS, ANSWER)
        if isinstance(end, Exception):
            raise end
        assert end is None or isinstance(end, Result)
        return end

    def happen(self, name: str, what: str) -> None:
        if name == "add":
            self.added.add(what)
            self.controller.enqueue(what)
        else:
            self.controller.remove(what)
            self.added -= {key for key in self.added if key.startswith(what)}

    def run(self, script: tuple[list[tuple[str, str]], bool, object]) -> None:
        self.script = script
        try:
            key = self.controller.queue.get(0)
        except TimeoutError:
            return
        contextvars.Context().run(self.worker._process, key)
        self.controller.queue.done(key)

    def kept(self) -> set[str]:
        """Every key of which there is something."""
        found = self.controller.queue.snapshot()
        keys = {*found.queued, *found.waiting, *found.processing, *self.made}
        failed = {"gone|1"} if self.controller.queue.num_requeues("gone|1") else set()
        return keys | failed | set(self.controller._pending.by_key)


@given(st.lists(STEPS, max_size=30))
def test_what_is_left_of_a_cluster_came_after_its_removal(steps: list[object]) -> None:
    """MCR-04 fixed: whatever ran, failed, wrote or was planned at that moment."""
    machine = Machine()
    for step in steps:
        if isinstance(step, float):
            machine.clock.step(step)
        elif isinstance(step, tuple) and len(step) == 2:
            machine.happen(*step)
        else:
            assert isinstance(step, tuple)
            machine.run(step)
        assert {key for key in machine.kept() if key.startswith("gone")} <= machine.added


def test_workers_and_removals_side_by_side() -> None:
    """A free run: keys of other clusters all run, and at the end nothing of the one is left."""
    clock = FakeClock()
    runs: Counter[str] = Counter()
    rng = random.Random(7)
    lock = threading.Lock()

    class Anything:
        def reconcile(self, request: Request) -> Result | None:
            with lock:
                runs[request.key] += 1
                draw = rng.random()
            if request.cluster == "stays":
                return None
            if draw < 0.3:
                note_write("https://s", "https://s", CONFIG_MAPS, ANSWER)
            if draw < 0.5:
                raise TransportTimeout("later")
            return Result(requeue_after_seconds=0) if draw < 0.9 else None

    controller = Controller("test", Anything(), workers=4, clock=clock)
    controller.watches(cache := Cache())
    cache._informer.sync()
    controller.start()

    def feed() -> None:
        for number in range(300):
            controller.enqueue(f"gone|{number % 20}")
            controller.enqueue(f"stays|{number}")

    def remove() -> None:
        for _ in range(100):
            controller.remove("gone")

    threads = [start_thread(run, name="test-feed") for run in (feed, feed, remove)]
    for thread in threads:
        thread.join()
    controller.remove("gone")
    eventually(lambda: not controller.queue.snapshot().processing and not len(controller.queue))
    found = controller.queue.snapshot()
    assert (found.queued, found.waiting, found.processing) == ({}, {}, {})
    assert [key for key in runs if controller.queue.num_requeues(key)] == []
    assert controller._pending.by_key == {}
    assert {key for key in runs if key.startswith("stays")} == {f"stays|{n}" for n in range(300)}
    assert controller.stop(5)
