"""What a syncer tells of its cluster, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kcpctl import __version__
from kcpctl.apis.meta import Unstructured
from kcpctl.errors import TransportError
from kcpctl.runtime import TaskSet
from kcpctl.syncer.facts import ClusterFacts, without_most_of_a_node
from kcpctl.testing import FakeClock


def node(name: str = "one", *, cpu: str = "4", ready: bool = True, **spec: Any) -> Unstructured:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": "u", "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {"podCIDR": "10.0.0.0/24", **spec},
        "status": {
            "capacity": {"cpu": cpu},
            "allocatable": {"cpu": cpu},
            "images": [{"names": ["nginx"]}],
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": "True" if ready else "False", "reason": "x"},
            ],
        },
    }


class Cluster:
    """A cluster whose facts a test sets."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.nodes: list[Unstructured] | None = [node()]
        self.version = "v1.36.0"
        self.declared = False
        self.facts = ClusterFacts(self, lambda: self.nodes, lambda: self.declared, clock=self.clock)

    async def server_version(self) -> str:
        if not self.version:
            raise TransportError("down")
        return self.version

    def tell(self) -> Unstructured:
        """Write what is news, as a heartbeat does."""
        news = self.facts.news()
        self.facts.told(news)
        return news


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_the_first_news_is_all_that_is_known(cluster: Cluster) -> None:
    assert cluster.tell() == {
        "capacity": {"cpu": "4"},
        "allocatable": {"cpu": "4"},
        "nodeCount": 1,
        "syncerVersion": __version__,
    }


def test_what_did_not_change_is_no_news(cluster: Cluster) -> None:
    cluster.tell()
    for _ in range(100):
        cluster.clock.step(20)
        assert cluster.tell() == {}


def test_what_was_not_written_is_news_again(cluster: Cluster) -> None:
    assert cluster.facts.news() == cluster.facts.news() != {}


def test_another_node_is_news_within_a_minute(cluster: Cluster) -> None:
    cluster.tell()
    cluster.nodes = [node(), node("two")]
    cluster.clock.step(59)
    assert cluster.tell() == {}
    cluster.clock.step(1)

    assert cluster.tell() == {
        "capacity": {"cpu": "8"},
        "allocatable": {"cpu": "8"},
        "nodeCount": 2,
    }


def test_a_node_that_takes_no_pods_is_not_allocatable(cluster: Cluster) -> None:
    cluster.nodes = [node(), node("two", ready=False), node("three", unschedulable=True)]

    assert cluster.tell()["capacity"] == {"cpu": "12"}
    assert cluster.facts._told["allocatable"] == {"cpu": "4"}


def test_a_figure_that_hardly_moved_waits_five_minutes(cluster: Cluster) -> None:
    cluster.nodes = [node(cpu="1000")]
    cluster.tell()
    cluster.nodes = [node(cpu="1009")]
    for _ in range(4):
        cluster.clock.step(60)
        assert cluster.tell() == {}
    cluster.clock.step(60)

    assert cluster.tell() == {"capacity": {"cpu": "1009"}, "allocatable": {"cpu": "1009"}}


def test_what_is_not_known_yet_is_not_told(cluster: Cluster) -> None:
    cluster.nodes = None

    assert cluster.tell() == {"syncerVersion": __version__}


def test_nodes_that_may_not_be_listed_count_as_none(cluster: Cluster) -> None:
    cluster.nodes = None
    cluster.tell()
    cluster.clock.step(60)

    assert cluster.tell() == {"capacity": {}, "allocatable": {}, "nodeCount": 0}


def test_a_declared_capacity_is_the_controllers_to_write(cluster: Cluster) -> None:
    cluster.declared = True
    assert "capacity" not in cluster.tell()

    cluster.declared = False

    assert cluster.tell() == {"capacity": {"cpu": "4"}}


def test_a_capacity_that_was_declared_meanwhile_is_news_when_it_is_not_any_more(
    cluster: Cluster,
) -> None:
    cluster.tell()
    cluster.declared = True
    cluster.nodes = [node(), node("two")]
    cluster.clock.step(60)
    cluster.tell()
    cluster.declared = False

    assert cluster.tell() == {"capacity": {"cpu": "8"}}


async def test_the_version_is_news_when_it_is_known_and_when_it_changes(cluster: Cluster) -> None:
    cluster.version = ""
    tasks = TaskSet("test")
    tasks.spawn(cluster.facts.run(), name="run")
    await settle()
    cluster.tell()
    cluster.version = "v1.36.0"
    cluster.clock.step(60)
    await settle()
    assert cluster.tell() == {"kubernetesVersion": "v1.36.0"}

    cluster.version = "v1.37.0"
    cluster.clock.step(300)
    await settle()

    assert cluster.tell() == {"kubernetesVersion": "v1.37.0"}
    await tasks.close()


def test_it_is_settled_when_all_is_known_or_after_ten_seconds(cluster: Cluster) -> None:
    seen = [cluster.facts.settled]
    cluster.facts._version = "v1.36.0"
    seen.append(cluster.facts.settled)
    cluster.nodes = None
    seen.append(cluster.facts.settled)
    cluster.clock.step(10)
    seen.append(cluster.facts.settled)

    assert seen == [False, True, False, True]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_of_a_node_only_what_is_added_up_is_kept() -> None:
    assert without_most_of_a_node(node(unschedulable=True)) == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "one", "uid": "u"},
        "spec": {"unschedulable": True},
        "status": {
            "capacity": {"cpu": "4"},
            "allocatable": {"cpu": "4"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def test_another_count_of_copies_is_news(cluster: Cluster) -> None:
    counts: Unstructured = {}
    facts = ClusterFacts(
        cluster, lambda: None, lambda: False, clock=cluster.clock, more=lambda: counts
    )
    assert "resourceCount" not in facts.news()
    facts.told(facts.news())
    counts |= {"resourceCount": 2, "workloadCount": 1}
    assert facts.news() == counts
    facts.told(facts.news())
    assert facts.news() == {}
