"""Keys of logical clusters whose time has not come: they wait, run later, and are never lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kcpctl.controller.gate import Gate
from kcpctl.errors import TransportTimeout
from kcpctl.testing import eventually
from tests.unit.controller.conftest import Bench

KEY = "root|default/web"


def test_what_is_admitted_is_not_held() -> None:
    gate = Gate(lambda cluster: cluster == "root")
    assert not gate.holds(KEY)
    assert gate.holds("other|x")
    assert set(gate.release("root")) == set()
    assert set(gate.release("other")) == {"other|x"}
    assert set(gate.release("other")) == set()


@pytest.mark.parametrize("release", [True, False])
def test_a_key_whose_cluster_is_admitted_meanwhile_is_not_lost(release: bool) -> None:
    """Between the look at the cluster and the wait it is admitted, and perhaps released, too."""
    admitted: set[str] = set()
    released: list[str] = []

    def admits(cluster: str) -> bool:
        found = cluster in admitted
        admitted.add(cluster)
        if not found and release:
            released.extend(gate.release(cluster))
        return found

    gate = Gate(admits)
    held = gate.holds(KEY)
    assert not held
    assert released == []


class Admission:
    def __init__(self) -> None:
        self.clusters: set[str] = set()

    def __call__(self, cluster: str) -> bool:
        return cluster in self.clusters


@pytest.fixture
def admission(bench: Bench) -> Admission:
    admission = Admission()
    bench.controller.watches(bench.informer)
    bench.controller.admit_only(admission)
    bench.informer.sync()
    return admission


def drained(bench: Bench) -> Callable[[], bool]:
    return lambda: not (held := bench.controller.queue.snapshot()).queued and not held.processing


def test_a_key_that_waits_is_no_work_and_runs_once_it_is_resumed(
    bench: Bench, admission: Admission
) -> None:
    bench.start()
    bench.controller.enqueue(KEY)
    bench.controller.enqueue(KEY)
    eventually(drained(bench))
    assert bench.requests.empty()
    assert bench.waiting() == {}
    admission.clusters.add("root")
    bench.controller.resume("root")
    assert bench.next().key == KEY
    bench.settled(1)
    assert bench.requests.empty()


def test_a_retry_that_comes_due_while_its_cluster_is_parked_waits_too(
    bench: Bench, admission: Admission
) -> None:
    admission.clusters.add("root")
    bench.start(TransportTimeout("later"), None)
    bench.run(KEY)
    admission.clusters.clear()
    bench.clock.step(3600)
    eventually(lambda: bench.waiting() == {} and drained(bench)())
    assert bench.total() == 1
    admission.clusters.add("root")
    bench.controller.resume("root")
    bench.settled(2)
    assert bench.controller.queue.num_requeues(KEY) == 0


def test_what_waits_of_a_cluster_that_is_removed_is_dropped(
    bench: Bench, admission: Admission
) -> None:
    bench.start()
    bench.controller.enqueue(KEY)
    eventually(drained(bench))
    bench.controller.remove("root")
    admission.clusters.add("root")
    bench.controller.resume("root")
    assert drained(bench)()
    assert bench.requests.empty()
